// Choosing a face by a click: through MuseTalk Face Options at the node's face_options.

const KIND = "MuseTalkFaceOptions";

function originOf(node) {
  const slot = node.inputs.findIndex((input) => input.name === "face_options");
  return node.getInputNode(slot);
}

function widgetOf(node, name) {
  return node.widgets.find((widget) => widget.name === name);
}

/** The chosen point [x, y] in px of the frame, or null. */
export function chosenPoint(node) {
  const options = originOf(node);
  if (options?.type !== KIND || widgetOf(options, "face").value !== "at a point") return null;
  return [widgetOf(options, "x").value, widgetOf(options, "y").value];
}

/** Choose the face at a point; false where something else chooses it. */
export function choosePoint(node, [x, y]) {
  const options = originOf(node) ?? addOptions(node);
  if (options.type !== KIND) return false;
  for (const [name, value] of Object.entries({ face: "at a point", x, y })) {
    const widget = widgetOf(options, name);
    widget.value = value;
    widget.callback?.(value);
  }
  node.graph.setDirtyCanvas(true, true);
  return true;
}

function addOptions(node) {
  const options = window.LiteGraph.createNode(KIND);
  node.graph.add(options);
  const [width, height] = options.size;
  let [left, top] = [node.pos[0] - width - 60, node.pos[1]];
  const others = node.graph._nodes.filter((other) => other !== options);
  const inTheWay = () =>
    others.find(
      ({ pos, size }) =>
        pos[0] < left + width && left < pos[0] + size[0] && pos[1] - 40 < top + height && top - 40 < pos[1] + size[1],
    );
  for (let other = inTheWay(); other; other = inTheWay()) top = other.pos[1] + other.size[1] + 60;
  options.pos = [left, top];
  options.connect(0, node, node.inputs.findIndex((input) => input.name === "face_options"));
  return options;
}
