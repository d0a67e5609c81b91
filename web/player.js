// Plays a video while it is being made: the host says "musetalk.live" with the node and the name of the video.

import { api } from "../../scripts/api.js";
import { Panel, element } from "./panel.js";
import { text } from "./text.js";

const SMALLEST = 160; // px

export class Player extends Panel {
  constructor(node) {
    super(node, "musetalk_live", SMALLEST);
    this.video = element("video");
    Object.assign(this.video, { controls: true, playsInline: true, muted: false });
    this.root.append(this.video);
    for (const kind of ["pointerdown", "keydown"]) {
      this.video.addEventListener(kind, (event) => event.stopPropagation());
    }
    this.video.addEventListener("loadedmetadata", () => {
      this.growFor((this.node.size[0] - 20) * (this.video.videoHeight / this.video.videoWidth));
    });
    this.video.addEventListener("error", () => {
      if (!this.video.readyState) this.remove(); // the host has forgotten it: until the next run
    });
    for (const kind of ["pause", "ended"]) this.video.addEventListener(kind, () => this.takeFinished());
    this.onExecuting = ({ detail }) => {
      if (!detail || String(detail) === this.live.node) return;
      this.finished = true; // since the run is at another node
      this.takeFinished();
    };
    api.addEventListener("executing", this.onExecuting);
    this.growFor(SMALLEST);
  }

  /** @param live node and id of the video; it keeps how far it was watched, for the next panel that shows it */
  show(live) {
    this.live = live;
    this.growing = true;
    this.finished = false;
    this.video.setAttribute("aria-label", text("playing"));
    this.load(live.time ?? 0);
    // A browser may want a click first; the controls are there.
    if (live.playing ?? true) this.video.play().catch(() => {});
  }

  load(time) {
    const address = api.apiURL(`/musetalk/live/${encodeURIComponent(this.live.id)}.mp4`);
    // Under the same address a browser may go on with what it has of the growing one.
    this.video.src = this.growing ? address : `${address}?finished`;
    this.video.currentTime = time;
  }

  /** The growing video cannot be sought in, the finished one can: ask again, when nobody is disturbed by it. */
  takeFinished() {
    if (!this.finished || !this.growing || !this.video.paused) return;
    this.growing = false;
    this.load(this.video.currentTime);
  }

  end() {
    super.end();
    api.removeEventListener("executing", this.onExecuting);
    Object.assign(this.live, { time: this.video.currentTime, playing: !this.video.paused });
    this.video.removeAttribute("src");
    this.video.load(); // lets the connection go
  }

  key() {
    return "";
  }

  draw() {}
}
