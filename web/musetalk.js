// MuseTalk's panels: what a run has found, below the node that found it. Graphs are the same without them.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { MaskPanel } from "./mask_panel.js";
import { Player } from "./player.js";
import { ShiftPanel } from "./shift_panel.js";

const PANELS = {
  MuseTalkDWPoseLandmarks: ["musetalk_shift", ShiftPanel],
  MuseTalkFaceParseBlend: ["musetalk_mask", MaskPanel],
};
const panels = new WeakMap(); // by node
const latest = new Map(); // what a node's last run gave, since undo and other tabs make the node anew

function nameOf(node) {
  return `${node.graph?.id}/${node.id}/${node.type}`;
}

function panelOf(node, Kind) {
  let panel = panels.get(node);
  if (!panel || !node.widgets.includes(panel.widget)) panels.set(node, (panel = new Kind(node)));
  return panel;
}

function showLatest(node) {
  const [, Kind] = PANELS[node.type] ?? [];
  const data = latest.get(nameOf(node));
  if (data) panelOf(node, Kind).show(data);
}

/** A node by the id under which it runs, "7", or "3:7" inside of the subgraph at node 3. */
function nodeOf(id) {
  const path = String(id).split(":");
  let graph = app.graph.rootGraph ?? app.graph;
  for (const step of path.slice(0, -1)) graph = graph?.getNodeById(Number(step))?.subgraph;
  return graph?.getNodeById(Number(path.at(-1)));
}

app.registerExtension({
  name: "MuseTalk.Panels",

  setup() {
    api.addEventListener("musetalk.live", ({ detail }) => {
      const node = nodeOf(detail.node);
      if (node) panelOf(node, Player).show(detail.id);
    });
  },

  nodeCreated(node) {
    const [output] = PANELS[node.comfyClass] ?? [];
    if (!output) return;
    const before = node.onExecuted;
    node.onExecuted = function (given) {
      before?.call(this, given);
      if (!given?.[output]) return;
      latest.set(nameOf(this), given[output][0]);
      showLatest(this);
    };
  },

  loadedGraphNode: showLatest,
});
