// The panel of MuseTalk Face Parse Blend: what is replaced, in colour; the host draws it anew for other settings.

import { api } from "../../scripts/api.js";
import { Panel, element } from "./panel.js";
import { language, text } from "./text.js";

const CAPTION = 46; // px
const SETTINGS = ["mask_mode", "cheek_width"];

export class MaskPanel extends Panel {
  constructor(node) {
    super(node, "musetalk_mask", 240);
    this.picture = element("img");
    this.picture.draggable = false;
    this.value = element("b");
    this.note = element("span", "note");
    const stage = element("div", "musetalk-stage", this.picture);
    this.root.append(stage, element("div", "musetalk-caption", this.value, element("span"), this.note));
  }

  show(data) {
    this.data = data;
    this.growFor(this.node.size[0] - 20 + CAPTION);
    this.refresh();
  }

  key() {
    return JSON.stringify([this.data.id, ...SETTINGS.map((name) => this.valueOf(name)), language()]);
  }

  async draw() {
    const [mode, width] = SETTINGS.map((name) => this.valueOf(name));
    this.value.textContent = mode === "jaw" || mode === "as the release" ? `${mode} · ${width}` : mode;
    this.note.replaceChildren(element("i", "musetalk-swatch"), text("replaced"));
    this.note.classList.remove("warning");
    this.picture.alt = text("mask");
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    const query = new URLSearchParams({ mask_mode: mode, cheek_width: width });
    try {
      const answer = await api.fetchApi(`/musetalk/mask/${this.data.id}?${query}`, { signal: asked.signal });
      if (answer.status === 404) return this.remove(); // forgotten: until the next run
      if (!answer.ok) return this.complain(`HTTP ${answer.status}`);
      const made = await answer.blob();
      if (asked.signal.aborted) return;
      URL.revokeObjectURL(this.picture.src);
      this.picture.src = URL.createObjectURL(made);
    } catch (error) {
      if (error.name !== "AbortError") this.complain(error.message); // the host is not there
    }
  }

  end() {
    super.end();
    this.asked?.abort();
    URL.revokeObjectURL(this.picture.src);
  }

  complain(why) {
    this.note.textContent = text("notDrawn", why);
    this.note.classList.add("warning");
  }
}
