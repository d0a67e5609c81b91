// The panel of MuseTalk DWPose Landmarks: the face box on the frame; its upper edge is the handle of bbox_shift.

import { api } from "../../scripts/api.js";
import { chosenPoint, choosePoint } from "./face_choice.js";
import { closeUp, faceBox, turnPoint, upperEdge } from "./geometry.js";
import { Panel, element } from "./panel.js";
import { language, signed, text } from "./text.js";

const BOX = "#ffc800";
const WARNING = "#ff5252";
const MIDDLE = "#ff7b72";
const POINT = "#3dff9e";
const RANGE = "#8fd0ff";
const CAPTION = 46; // px
const STEPS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 };
const SLACK = 4; // px a click may move
const CLOSER = "M9.5 9.5 14 14M6 10.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9M6 4v4M4 6h4";
const WHOLE = "M1.5 5.5v-4h4M10.5 1.5h4v4M14.5 10.5v4h-4M5.5 14.5h-4v-4";

export class ShiftPanel extends Panel {
  constructor(node) {
    super(node, "musetalk_shift", 240);
    this.canvas = element("canvas");
    this.canvas.setAttribute("aria-hidden", true);
    this.handle = element("div", "musetalk-handle");
    this.handle.tabIndex = 0;
    this.handle.setAttribute("role", "slider");
    this.handle.setAttribute("aria-orientation", "vertical");
    this.look = element("button", "musetalk-view");
    this.look.type = "button";
    this.stage = element("div", "musetalk-stage", this.canvas, this.handle, this.look);
    this.stage.style.visibility = "hidden"; // nothing to take hold of yet
    this.value = element("b");
    this.range = element("span", "range");
    this.note = element("span", "note");
    this.note.setAttribute("aria-live", "polite");
    this.root.append(this.stage, element("div", "musetalk-caption", this.value, this.range, this.note));
    this.look.addEventListener("click", () => {
      this.close = !this.close;
      this.refresh();
    });
    this.look.addEventListener("pointerdown", (event) => event.stopPropagation());
    this.handle.addEventListener("keydown", (event) => this.onKey(event));
    this.drag(this.handle);
    this.click(this.canvas);
  }

  /** Show what a run has found. */
  show(data) {
    this.data = data;
    this.near = closeUp(data);
    this.close = this.near.closer;
    this.clicked = null;
    this.picture = null;
    const picture = new Image();
    picture.onload = () => {
      if (this.data !== data) return; // a newer run's came first
      this.picture = picture;
      this.refresh();
    };
    picture.onerror = () => this.data === data && this.remove(); // the host has cleared its temp folder
    picture.src = api.apiURL(`/view?${new URLSearchParams(data.picture)}`);
    this.growFor((this.node.size[0] - 20) * (data.height / data.width) + CAPTION);
  }

  key() {
    const point = chosenPoint(this.node);
    const { offsetWidth, offsetHeight } = this.stage;
    const picture = this.picture?.src;
    const state = [this.valueOf("bbox_shift"), this.valueOf("extra_margin"), this.isLinked("bbox_shift"), point];
    return JSON.stringify([state, picture, offsetWidth, offsetHeight, this.zoom(), this.close, this.clicked, language()]);
  }

  /** Pixels of the screen for one of the panel's. */
  zoom() {
    const scale = this.stage.getBoundingClientRect().width / this.stage.offsetWidth || 1;
    return Math.min(Math.max(Math.round(scale * devicePixelRatio * 4) / 4, 1), 4);
  }

  draw() {
    const { data, stage } = this;
    if (!this.picture || !stage.offsetWidth || !stage.offsetHeight) return;
    const view = this.close ? this.near : { x: 0, y: 0, width: data.width, height: data.height };
    const scale = Math.min(stage.offsetWidth / view.width, stage.offsetHeight / view.height);
    const [width, height] = [view.width * scale, view.height * scale];
    const zoom = this.zoom();
    Object.assign(this.canvas, { width: Math.round(width * zoom), height: Math.round(height * zoom) });
    this.left = (stage.offsetWidth - width) / 2;
    this.top = (stage.offsetHeight - height) / 2;
    const place = { left: this.left, top: this.top, width, height };
    for (const [name, pixels] of Object.entries(place)) this.canvas.style[name] = `${pixels}px`;
    stage.style.visibility = "";
    this.view = view;
    this.scale = scale;
    this.shift = this.valueOf("bbox_shift");
    const margin = data.has_margin ? this.valueOf("extra_margin") : 0;
    this.found = faceBox(data, this.shift, margin);
    const [lowest, highest] = data.range;
    this.outside = this.shift < lowest || this.shift > highest || this.found.tooFar || !this.found.box;

    const pen = this.canvas.getContext("2d");
    const shown = this.picture.naturalWidth / data.width; // the picture may be smaller than the frame
    pen.scale(zoom, zoom);
    pen.drawImage(this.picture, ...[view.x, view.y, view.width, view.height].map((v) => v * shown), 0, 0, width, height);
    this.drawPoints(pen);
    if (this.found.box) {
      pen.save();
      this.enterUpright(pen);
      this.drawBox(pen);
      pen.restore();
    }
    this.drawChoice(pen);
    this.placeHandle(width, height);
    this.write();
  }

  /** From here on, draw in pixels of the panel along the axes of the upright frame. */
  enterUpright(pen) {
    const [x, y] = this.place([(this.data.width - 1) / 2, (this.data.height - 1) / 2]);
    pen.translate(x, y);
    pen.rotate((-this.data.angle * Math.PI) / 180);
    pen.translate(-x, -y);
  }

  /** A point of the frame in pixels of the canvas. */
  place([x, y]) {
    return [(x - this.view.x) * this.scale, (y - this.view.y) * this.scale];
  }

  drawPoints(pen) {
    pen.fillStyle = POINT;
    pen.shadowColor = "#000c";
    pen.shadowBlur = 2;
    for (const point of this.data.landmarks ?? []) {
      const [x, y] = this.place(turnPoint(point, -this.data.angle, this.data));
      pen.beginPath();
      pen.arc(x, y, 1.4, 0, 2 * Math.PI);
      pen.fill();
    }
    pen.shadowBlur = 0;
  }

  drawBox(pen) {
    const { box, middle } = this.found;
    const [x1, y1] = this.place([box[0], box[1]]);
    const [x2, y2] = this.place([box[2], box[3]]);
    const colour = this.outside ? WARNING : BOX;
    const half = (y1 + y2) / 2; // the lower half is painted
    pen.fillStyle = `${colour}2e`;
    pen.fillRect(x1, half, x2 - x1, y2 - half);
    if (middle !== null) {
      const y = this.place([0, Math.min(middle, box[3])])[1];
      line(pen, x1, y, x2, y, MIDDLE, 1.5);
      this.drawRange(pen, x1, x2);
    }
    pen.lineJoin = "round";
    for (const [style, width] of [["#000a", 4], [colour, 2]]) {
      pen.strokeStyle = style;
      pen.lineWidth = width;
      pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
    }
  }

  /** Beside the box, where its upper edge is while the shift is usable. */
  drawRange(pen, x1, x2) {
    const [top, bottom] = this.data.range.map((shift) => this.place([0, upperEdge(this.data, shift)])[1]);
    for (const [x, outwards] of [[x1 - 7, -1], [x2 + 7, 1]]) {
      line(pen, x, top, x, bottom, RANGE, 3);
      line(pen, x, top, x + outwards * 7, top, RANGE, 2);
      line(pen, x, bottom, x + outwards * 7, bottom, RANGE, 2);
    }
  }

  drawChoice(pen) {
    const point = chosenPoint(this.node);
    if (!point) return;
    const [x, y] = this.place(point);
    for (const [style, width] of [["#000c", 5], ["#fff", 2]]) {
      pen.strokeStyle = style;
      pen.lineWidth = width;
      pen.beginPath();
      pen.arc(x, y, 7, 0, 2 * Math.PI);
      pen.moveTo(x - 12, y);
      pen.lineTo(x + 12, y);
      pen.moveTo(x, y - 12);
      pen.lineTo(x, y + 12);
      pen.stroke();
    }
  }

  placeHandle(width, height) {
    const { box, middle } = this.found;
    const { style } = this.handle;
    style.display = box && middle !== null ? "" : "none";
    this.look.style.display = this.near.closer ? "" : "none";
    const d = this.close ? WHOLE : CLOSER;
    this.look.innerHTML = `<svg viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor"
      stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"><path d="${d}"/></svg>`;
    this.look.title = text(this.close ? "whole" : "closer");
    this.look.setAttribute("aria-label", this.look.title);
    if (!box) return;
    const middleOfEdge = turnPoint([(box[0] + box[2]) / 2, box[1]], -this.data.angle, this.data);
    const [x, y] = this.place(middleOfEdge);
    const left = this.left + Math.min(Math.max(x, 0), width);
    const top = this.top + Math.min(Math.max(y, 6), height);
    const wide = Math.max((box[2] - box[0]) * this.scale, 44);
    style.width = `${wide}px`;
    style.left = `${left - wide / 2}px`;
    style.top = `${top}px`;
    style.transform = `rotate(${-this.data.angle}deg)`;
    style.setProperty("--mt-colour", this.outside ? WARNING : BOX);
  }

  write() {
    const { data, shift } = this;
    const [lowest, highest] = data.range.map(signed);
    const { min, max } = this.limits();
    const linked = this.isLinked("bbox_shift");
    this.value.textContent = `bbox_shift ${signed(shift)}`;
    this.value.className = this.outside ? "warning" : "";
    this.range.textContent = `${text("usable", lowest, highest)} · ${text("frame", data.frame)}`;
    this.note.textContent = this.message(linked);
    this.note.title = this.note.textContent;
    const attributes = { label: text("dragged"), valuemin: min, valuemax: max, valuenow: shift, disabled: linked };
    attributes.valuetext = text("value", signed(shift), lowest, highest);
    for (const [name, value] of Object.entries(attributes)) this.handle.setAttribute(`aria-${name}`, value);
  }

  message(linked) {
    if (this.clicked) return this.clicked.chosen ? text("chosen", ...this.clicked.point) : text("choice");
    if (!this.found.box) return text("noBox");
    if (this.found.middle === null) return text("detected");
    if (this.found.tooFar) return text("tooFar", signed(this.found.middle - this.data.landmarks[29][1]));
    if (this.outside) return text("outside");
    return linked ? text("linked", "bbox_shift") : text("drag");
  }

  limits() {
    const { min, max } = this.find("bbox_shift").options;
    return { min, max };
  }

  setShift(value) {
    const { min, max } = this.limits();
    this.clicked = null;
    this.set("bbox_shift", Math.min(Math.max(Math.round(value), min), max));
    this.refresh();
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.isLinked("bbox_shift")) return;
    const [lowest, highest] = this.data.range;
    const ends = { Home: lowest, End: highest };
    const value = event.key in ends ? ends[event.key] : this.shift + STEPS[event.key];
    if (Number.isNaN(value)) return;
    event.preventDefault();
    event.stopPropagation();
    this.setShift(value);
  }

  drag(handle) {
    let start = null;
    handle.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.stopPropagation(); // or the node would be dragged
      if (this.isLinked("bbox_shift")) return;
      handle.setPointerCapture(event.pointerId);
      handle.classList.add("dragged");
      const { top } = this.downwards(event);
      start = { top, shift: this.shift };
    });
    handle.addEventListener("pointermove", (event) => {
      if (!start) return;
      event.stopPropagation();
      // The edge goes two pixels for each of the shift.
      this.setShift(start.shift + (this.downwards(event).top - start.top) / this.scale / 2);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      handle.addEventListener(end, (event) => {
        event.stopPropagation();
        handle.classList.remove("dragged");
        start = null;
      });
    }
  }

  /** How far down the upright frame a pointer is, in pixels of the panel. */
  downwards(event) {
    const [x, y] = this.pointer(event);
    const angle = (this.data.angle * Math.PI) / 180;
    return { top: Math.sin(angle) * x + Math.cos(angle) * y };
  }

  /** A pointer in pixels of the canvas, which the host may show enlarged. */
  pointer(event) {
    const shown = this.canvas.getBoundingClientRect();
    const factor = this.canvas.offsetWidth / shown.width;
    return [(event.clientX - shown.left) * factor, (event.clientY - shown.top) * factor];
  }

  click(canvas) {
    let start = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.stopPropagation();
      start = [event.clientX, event.clientY];
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!start || Math.hypot(event.clientX - start[0], event.clientY - start[1]) > SLACK) return;
      start = null;
      const [x, y] = this.pointer(event);
      const point = [x / this.scale + this.view.x, y / this.scale + this.view.y].map(Math.round);
      if (this.isInBox(point)) return;
      this.clicked = { point, chosen: choosePoint(this.node, point) };
      this.refresh();
    });
  }

  isInBox(point) {
    if (!this.found.box) return false;
    const [x1, y1, x2, y2] = this.found.box;
    const [x, y] = turnPoint(point, this.data.angle, this.data);
    return x1 <= x && x <= x2 && y1 <= y && y <= y2;
  }
}

function line(pen, x1, y1, x2, y2, colour, width) {
  for (const [style, extra] of [["#000a", 2], [colour, 0]]) {
    pen.strokeStyle = style;
    pen.lineWidth = width + extra;
    pen.beginPath();
    pen.moveTo(x1, y1);
    pen.lineTo(x2, y2);
    pen.stroke();
  }
}
