// The face box as `make_track` of musetalk_core/faces.py makes it, so that it can follow a hand without a run.
// A `face` is what nodes/panels.py gives: landmarks [[x, y] * 68] or null, turned, detection, width, height.

/** The box whose upper edge mirrors the chin about nose point 29, shifted; it may be empty or leave the frame. */
function mirroredBox(points, shift) {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const bottom = Math.max(...ys);
  return [Math.min(...xs), 2 * (ys[29] + shift) - bottom, Math.max(...xs), bottom];
}

function isEmpty([x1, y1, x2, y2]) {
  return y2 <= y1 || x2 <= x1;
}

/** The largest shift that leaves a box; below 0 where none does. */
export function largestShift(face) {
  const bottom = Math.max(...face.landmarks.map(([, y]) => y));
  const limit = face.turned ? bottom : face.height;
  return Math.floor((bottom + Math.min(bottom, limit) - 1) / 2) - face.landmarks[29][1];
}

/**
 * @param shift bbox_shift, px
 * @param margin px below the chin
 * @returns {{box: number[] | null, middle: number | null, tooFar: boolean}} box: x1, y1, x2, y2 in px of the
 *   upright frame, null where there is none; middle: y of the line the box is mirrored about, null where the
 *   box is the face detector's; tooFar: the shift was larger than the largest and that one was taken.
 */
export function faceBox(face, shift, margin) {
  let box = face.detection;
  let middle = null;
  let tooFar = false;
  if (face.landmarks) {
    const largest = largestShift(face);
    tooFar = largest >= 0 && shift > largest;
    const used = tooFar ? largest : shift;
    let mirrored = mirroredBox(face.landmarks, used);
    if (!face.turned) mirrored = [mirrored[0], Math.max(0, mirrored[1]), mirrored[2], mirrored[3]];
    if (face.turned || (!isEmpty(mirrored) && mirrored[0] >= 0)) {
      box = mirrored;
      middle = face.landmarks[29][1] + used;
    }
  }
  box = [box[0], box[1], box[2], box[3] + margin];
  if (!face.turned) {
    const limits = [face.width, face.height, face.width, face.height];
    box = box.map((value, i) => Math.min(Math.max(value, 0), limits[i]));
  }
  return { box: isEmpty(box) ? null : box, middle, tooFar };
}

/** Where the upper edge would be with a shift, px of the upright frame; it may leave the frame. */
export function upperEdge(face, shift) {
  return mirroredBox(face.landmarks, shift)[1];
}

/** A point where it is when the frame is turned clockwise about its centre by these degrees. */
export function turnPoint([x, y], degrees, face) {
  const [cos, sin] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  const [cx, cy] = [(face.width - 1) / 2, (face.height - 1) / 2];
  return [cx + cos * (x - cx) - sin * (y - cy), cy + sin * (x - cx) + cos * (y - cy)];
}

/**
 * The part of the frame to look at: all of it, or round a face that would be small, in the frame's own shape.
 * @returns {{x: number, y: number, width: number, height: number, closer: boolean}}
 */
export function closeUp(face) {
  const { box } = faceBox(face, 0, 0);
  const whole = { x: 0, y: 0, width: face.width, height: face.height, closer: false };
  if (!box) return whole;
  const size = Math.max((box[2] - box[0]) / face.width, (box[3] - box[1]) / face.height);
  const zoom = 2.4 * size; // the face takes a little less than half
  if (zoom > 0.7) return whole;
  const [width, height] = [face.width * zoom, face.height * zoom];
  const [cx, cy] = turnPoint([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], -face.angle, face);
  const x = Math.min(Math.max(cx - width / 2, 0), face.width - width);
  const y = Math.min(Math.max(cy - height / 2, 0), face.height - height);
  return { x, y, width, height, closer: true };
}
