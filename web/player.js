// Plays a video while it is being made: the host says "musetalk.live" with the node and the name of the video.

import { api } from "../../scripts/api.js";
import { Panel, element } from "./panel.js";
import { text } from "./text.js";

export class Player extends Panel {
  constructor(node) {
    super(node, "musetalk_live", 160);
    this.video = element("video");
    Object.assign(this.video, { controls: true, playsInline: true, autoplay: true, muted: false });
    this.root.append(this.video);
    for (const kind of ["pointerdown", "keydown"]) {
      this.video.addEventListener(kind, (event) => event.stopPropagation());
    }
    this.video.addEventListener("loadedmetadata", () => {
      this.growFor((this.node.size[0] - 20) * (this.video.videoHeight / this.video.videoWidth));
    });
  }

  show(id) {
    this.video.setAttribute("aria-label", text("playing"));
    this.video.src = api.apiURL(`/musetalk/live/${encodeURIComponent(id)}.mp4`);
    this.video.play().catch(() => {}); // a browser may want a click first; the controls are there
  }

  key() {
    return "";
  }

  draw() {}
}
