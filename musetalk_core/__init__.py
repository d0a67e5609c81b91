"""MuseTalk lip-sync without a host: everything ComfyUI nodes and the command line share."""
