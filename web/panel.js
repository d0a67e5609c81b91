// What all panels share: a place below a node's widgets that is no part of the saved graph.

const CSS = `
.musetalk-panel { box-sizing: border-box; width: 100%; height: 100%; display: flex; flex-direction: column;
  overflow: hidden; border: 1px solid var(--border-color, #4e4e4e); border-radius: 6px;
  background: var(--comfy-menu-bg, #353535); color: var(--input-text, #ddd);
  font-size: 12px; line-height: 1.35; }
.musetalk-stage { position: relative; flex: 1; min-height: 0; touch-action: none; user-select: none; }
.musetalk-stage > canvas { position: absolute; max-width: none; cursor: crosshair; }
.musetalk-stage > img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
.musetalk-caption { flex: none; display: grid; grid-template-columns: 1fr auto; gap: 1px 8px; padding: 5px 9px 6px; }
.musetalk-caption b { font-weight: 600; font-variant-numeric: tabular-nums; }
.musetalk-caption .range { color: var(--descrip-text, #999); font-variant-numeric: tabular-nums; }
.musetalk-caption .note { grid-column: 1 / -1; color: var(--descrip-text, #999); font-size: 11px; min-height: 1.35em; }
.musetalk-panel .warning { color: var(--error-text, #ff4444); }
.musetalk-swatch { display: inline-block; width: 9px; height: 9px; margin-right: 6px; border-radius: 2px;
  background: #2896ff; }
.musetalk-handle { position: absolute; height: 22px; margin-top: -11px; padding: 0; cursor: ns-resize; touch-action: none;
  border-radius: 6px; outline: none; }
.musetalk-handle::after { content: ""; position: absolute; left: 50%; top: 50%; width: 34px; height: 8px;
  transform: translate(-50%, -50%); border-radius: 5px; background: var(--mt-colour); border: 1.5px solid #000a;
  box-shadow: 0 1px 4px #0008; transition: height 0.1s, width 0.1s; }
.musetalk-handle:hover::after, .musetalk-handle.dragged::after { width: 44px; height: 10px; }
.musetalk-handle:focus-visible { box-shadow: 0 0 0 2px #000b, 0 0 0 4px #6cb6ff; }
.musetalk-handle[aria-disabled="true"] { cursor: default; }
.musetalk-handle[aria-disabled="true"]::after { display: none; }
.musetalk-view { position: absolute; right: 6px; top: 6px; width: 26px; height: 26px; padding: 5px; cursor: pointer;
  border: 0; border-radius: 6px; background: #000a; color: #fff; line-height: 0; }
.musetalk-view:hover { background: #000d; }
.musetalk-view:focus-visible { outline: 2px solid #6cb6ff; outline-offset: 1px; }
.musetalk-panel video { display: block; width: 100%; height: 100%; background: #000; object-fit: contain; }
`;

/** An element with a class and content. */
export function element(tag, className = "", ...content) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...content);
  return made;
}

/** Call `also` after a method of an object, if it has one. */
function after(object, method, also) {
  const before = object[method];
  object[method] = function (...values) {
    const result = before?.apply(this, values);
    also.apply(this, values);
    return result;
  };
}

/** The panel of each node that has had one; null where it was taken away. */
export const panels = new WeakMap();

/** Let a node tell its panel, whichever it is then, of what happens to it. */
function connect(node) {
  const tell = (what) => panels.get(node)?.[what]();
  after(node, "onRemoved", () => tell("end"));
  for (const method of ["onConnectionsChange", "onDrawForeground"]) after(node, method, () => tell("refresh"));
  for (const widget of node.widgets) after(widget, "callback", () => tell("refresh"));
  after(node, "onSerialize", (saved) => {
    const grown = panels.get(node)?.grown;
    if (grown) saved.size = [saved.size[0], saved.size[1] - grown];
  });
}

export class Panel {
  /**
   * @param node The host's node; it has no panel
   * @param name Of the host's widget
   * @param smallest Its least height, px
   */
  constructor(node, name, smallest) {
    if (!document.getElementById("musetalk-style")) {
      document.head.append(Object.assign(element("style"), { id: "musetalk-style", textContent: CSS }));
    }
    if (!panels.has(node)) connect(node);
    panels.set(node, this);
    this.node = node;
    this.root = element("div", "musetalk-panel");
    this.root.style.minHeight = `${smallest - 20}px`; // the host keeps 10 px above and below
    this.widget = node.addDOMWidget(name, "musetalk_panel", this.root, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => smallest,
      getValue: () => "",
      setValue: () => {},
    });
    this.widget.serialize = false; // widgets_values of a saved graph keep their places
    this.smallest = smallest;
    this.replacePreview();
    this.resizes = new ResizeObserver(() => this.refresh());
    this.resizes.observe(this.root);
  }

  /** The panel stands where the host shows pictures while a node runs; both would lie over each other. */
  replacePreview() {
    const { node } = this;
    const preview = node.widgets.find((widget) => widget.name === "$$canvas-image-preview");
    if (preview) node.removeWidget(preview);
    Object.defineProperty(node, "imgs", { configurable: true, get: () => undefined, set: () => {} });
  }

  /** How much of the node's height was made for the panel, px; none where a hand has set it since. */
  get grown() {
    return this.node.size[1] === this.fitted ? this.fitted - this.own : 0;
  }

  /** Give the node the height that a panel of px needs, and at least its own; not where a hand has set it since. */
  growFor(height) {
    const [width, now] = this.node.size;
    if (this.fitted && now !== this.fitted) return;
    this.own = now - this.grown;
    const needed = this.node.computeSize()[1] - this.smallest + Math.max(height, this.smallest);
    this.fitted = Math.max(this.own, Math.round(needed));
    this.node.setSize([width, this.fitted]);
    this.node.graph?.setDirtyCanvas(true, true);
  }

  /** The node goes, or the panel. */
  end() {
    this.resizes.disconnect();
  }

  /** Take the panel away, and the room made for it. */
  remove() {
    this.end();
    panels.set(this.node, null);
    const [width, height] = this.node.size;
    const own = height - this.grown;
    this.node.removeWidget(this.widget);
    delete this.node.imgs;
    this.node.setSize([width, own]);
    this.node.graph?.setDirtyCanvas(true, true);
  }

  /** Draw anew if something it is drawn from has changed: `key` names it, `draw` draws. */
  refresh() {
    if (!this.root.isConnected) return;
    const key = this.key();
    if (key === this.drawn) return;
    this.drawn = key;
    this.draw();
  }

  find(name) {
    return this.node.widgets.find((widget) => widget.name === name);
  }

  /** Whether a widget's value comes from another node. */
  isLinked(name) {
    return this.node.inputs.some((input) => input.widget?.name === name && input.link != null);
  }

  /** What a widget says, or, where that comes from another node, what the last run was given. */
  valueOf(name) {
    return this.isLinked(name) ? this.data[name] : this.find(name).value;
  }

  /** Set a widget as a hand on it would. */
  set(name, value) {
    const widget = this.find(name);
    if (widget.value === value) return;
    widget.value = value;
    widget.callback?.(value);
    this.node.graph?.setDirtyCanvas(true, true);
  }
}
