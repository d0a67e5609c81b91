// What the panels say, in English and Chinese.

import { app } from "../../scripts/app.js";

const TEXTS = {
  en: {
    usable: "usable {0} to {1}",
    drag: "Drag the upper edge. Click another face to choose it.",
    dragged: "Upper edge of the face box (bbox_shift)",
    value: "{0}, usable {1} to {2}",
    linked: "{0} comes from another node.",
    outside: "Outside the usable range: the mouth may look wrong.",
    tooFar: "Too large for this frame: it takes {0}.",
    noBox: "No face box is left: choose a smaller value.",
    detected: "The face points are unsure: the box is the face detector's.",
    chosen: "The face at {0}, {1} is chosen. Run to find it.",
    choice: "The face is chosen by another node.",
    closer: "Show the face larger",
    whole: "Show the whole frame",
    frame: "frame {0}",
    replaced: "replaced by the painted face",
    mask: "The face with what is replaced in colour",
    notDrawn: "The mask could not be drawn: {0}. Run the graph again.",
    playing: "MuseTalk: the video while it is being made",
  },
  zh: {
    usable: "可用范围 {0} ~ {1}",
    drag: "拖动上边缘调整；点击另一张脸即可选择。",
    dragged: "人脸框上边缘（bbox_shift）",
    value: "{0}，可用范围 {1} ~ {2}",
    linked: "{0} 来自其他节点。",
    outside: "超出可用范围：嘴部可能不自然。",
    tooFar: "对这一帧太大，实际使用 {0}。",
    noBox: "没有留下人脸框，请调小。",
    detected: "关键点不可靠：使用人脸检测器的框。",
    chosen: "已选择 {0}, {1} 处的人脸，运行后生效。",
    choice: "人脸由其他节点选择。",
    closer: "放大人脸",
    whole: "显示整帧",
    frame: "第 {0} 帧",
    replaced: "由重绘的人脸替换",
    mask: "人脸，着色处会被替换",
    notDrawn: "无法绘制遮罩：{0}。请重新运行。",
    playing: "MuseTalk：正在生成的视频",
  },
};

/** "zh" where the host speaks Chinese, else "en". */
export function language() {
  const locale = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
  return locale.startsWith("zh") ? "zh" : "en";
}

/** The text of this name in the host's language, its {0}, {1} replaced. */
export function text(name, ...values) {
  return TEXTS[language()][name].replace(/\{(\d)\}/g, (_, i) => values[i]);
}

/** A signed number as people write it: +3, 0, −2. */
export function signed(value) {
  return value > 0 ? `+${value}` : String(value).replace("-", "−");
}
