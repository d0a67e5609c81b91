// MuseTalk's panels: what a run has found, below the node that found it. Graphs are the same without them.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { MaskPanel } from "./mask_panel.js";
import { panels } from "./panel.js";
import { Player } from "./player.js";
import { ShiftPanel } from "./shift_panel.js";

const PANELS = {
  MuseTalkAvatarPrepare: ["musetalk_shift", ShiftPanel],
  MuseTalkDWPoseLandmarks: ["musetalk_shift", ShiftPanel],
  MuseTalkFaceParseBlend: ["musetalk_mask", MaskPanel],
  MuseTalkAvatarSpeak: [null, Player],
};
// What the nodes' last runs gave, by name, for each open workflow: undo and going to other tabs make the nodes anew,
// and a copy of a workflow may have the ids of the original.
const latest = new WeakMap();
const loaded = []; // nodes whose workflow is not known yet

function nameOf(node) {
  return `${node.graph?.id}/${node.id}/${node.type}`;
}

function show(node, data) {
  const [, Kind] = PANELS[node.type];
  (panels.get(node) ?? new Kind(node)).show(data);
}

function showNew(node, data) {
  const workflow = app.extensionManager.workflow.activeWorkflow;
  if (!latest.has(workflow)) latest.set(workflow, new Map());
  latest.get(workflow).set(nameOf(node), data);
  show(node, data);
}

function showLatest() {
  const known = latest.get(app.extensionManager.workflow.activeWorkflow);
  for (const node of loaded.splice(0)) {
    const data = known?.get(nameOf(node));
    if (data) show(node, data);
  }
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
      // Another graph may have come to the screen since the run began.
      if (node?.type === "MuseTalkAvatarSpeak") showNew(node, detail);
    });
    // Undo and tabs, too, end with this; only then is it known which workflow has been loaded.
    app.extensionManager.workflow.$onAction(({ name, after }) => {
      if (name === "openWorkflow") after(showLatest);
    });
  },

  nodeCreated(node) {
    const [output] = PANELS[node.comfyClass] ?? [];
    if (!output) return;
    const before = node.onExecuted;
    node.onExecuted = function (given) {
      before?.call(this, given);
      if (given?.[output]) showNew(this, given[output][0]);
    };
  },

  loadedGraphNode(node) {
    if (PANELS[node.type]) loaded.push(node);
  },
});
