// The volume viewer: NiiVue, unpacked when it is first asked for.
{
  const dialog = document.getElementById("viewer"), form = dialog.querySelector("form");
  const status = dialog.querySelector("[role=status]"), canvas = dialog.querySelector("canvas");
  const volumes = JSON.parse(document.getElementById("volumes").textContent);
  const bytes = text => Uint8Array.from(atob(text.trim()), letter => letter.charCodeAt(0));
  const unpacked = data => new Response(new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  let viewer;

  // A NIfTI (uint8, sform) on a grid FINER times as fine, so that an outline, which is one voxel wide, is a line and no band.
  const FINER = 3;
  const refined = (file, smooth) => {
    const old = new DataView(file), start = old.getFloat32(108, true), sizes = [42, 44, 46].map(at => old.getInt16(at, true));
    let values = new Uint8Array(file, start), stride = 1;
    for (const size of sizes) {
      const made = new Float32Array(values.length * FINER);
      for (let k = 0; k < made.length; k++) {
        const j = Math.floor(k / stride) % (size * FINER), base = Math.floor(k / (stride * size * FINER)) * stride * size + k % stride;
        const place = smooth ? Math.min(Math.max((j + 0.5) / FINER - 0.5, 0), size - 1) : Math.floor(j / FINER);
        const low = Math.floor(place), high = Math.min(low + 1, size - 1);
        made[k] = values[base + low * stride] * (low + 1 - place) + values[base + high * stride] * (place - low);
      }
      [values, stride] = [made, stride * size * FINER];
    }
    const whole = new Uint8Array(start + values.length), header = new DataView(whole.buffer);
    whole.set(new Uint8Array(file, 0, start));
    values.forEach((value, k) => { whole[start + k] = Math.round(value); });
    sizes.forEach((size, axis) => {
      header.setInt16(42 + 2 * axis, size * FINER, true);
      header.setFloat32(80 + 4 * axis, old.getFloat32(80 + 4 * axis, true) / FINER, true);
    });
    header.setInt16(252, 0, true); // the sform alone says where the voxels lie
    for (const row of [280, 296, 312]) {
      const steps = [0, 4, 8].map(at => old.getFloat32(row + at, true));
      steps.forEach((step, axis) => header.setFloat32(row + 4 * axis, step / FINER, true));
      const shift = steps.reduce((sum, step) => sum + step, 0) * (1 / FINER - 1) / 2;
      header.setFloat32(row + 12, old.getFloat32(row + 12, true) + shift, true);
    }
    return whole.buffer;
  };

  const start = async () => {
    const text = new TextDecoder().decode(await unpacked(bytes(document.getElementById("engine").textContent)));
    document.head.append(make("script", {textContent: text}));
    const made = new niivue.Niivue({
      backColor: [1, 1, 1, 1], crosshairColor: [0, 0.62, 0.45, 1], crosshairWidth: 0.45, crosshairGap: 3, fontColor: [0.1, 0.1, 0.1, 1],
      isColorbar: false, isRadiologicalConvention: true, sagittalNoseLeft: true, loadingText: "", logLevel: "error",
      dragAndDropEnabled: false, multiplanarShowRender: 1, multiplanarLayout: 2,
    });
    made.onLocationChange = place => {
      const [suv, label] = place.values.map(value => value.value);
      const where = ["outside the prostate", "prostate", "lesion"][Math.round(label)] ?? "";
      const top = 255 * made.volumes[0].hdr.scl_slope; // higher ones are not told apart
      status.textContent = `SUV ${suv > top - 0.05 ? "at least " : ""}${suv.toFixed(1)} at the crosshair, ${where}. Drag, wheel, arrow keys or Page Up and Down move it.`;
    };
    await made.attachToCanvas(canvas);
    return made;
  };

  const apply = () => {
    const [pet, masks] = viewer.volumes, top = Number(form.top.value);
    form.querySelector("output").textContent = top;
    [pet.cal_min, pet.cal_max] = [0, top];
    // Outlines, and a breath of colour inside that leaves the uptake to be seen.
    masks.opacity = form.masks.checked ? 0.08 : 0;
    viewer.setAtlasOutline(form.masks.checked ? 1 : 0);
    viewer.setSliceType(Number(form.view.value));
  };

  // The hottest voxel of the lesions, else of the prostate, as a place of the scene; both volumes have one grid.
  const hottest = (pet, masks) => {
    const wanted = masks.img.includes(2) ? 2 : 1, [, columns, rows] = pet.hdr.dims;
    let best = -1;
    for (let k = 0; k < pet.img.length; k++) if (masks.img[k] === wanted && (best < 0 || pet.img[k] > pet.img[best])) best = k;
    if (best < 0) return [0.5, 0.5, 0.5];
    const voxel = [best % columns, Math.floor(best / columns) % rows, Math.floor(best / columns / rows), 1];
    return viewer.mm2frac(pet.hdr.affine.slice(0, 3).map(row => row.reduce((sum, value, axis) => sum + value * voxel[axis], 0)));
  };

  const open = async patient => {
    dialog.querySelector("h2").textContent = patient;
    status.textContent = "Loading";
    dialog.showModal();
    try {
      viewer ??= await start();
      [...viewer.volumes].reverse().forEach(volume => viewer.removeVolume(volume));
      for (const [name, text] of Object.entries({pet: volumes[patient][0], masks: volumes[patient][1]})) {
        await viewer.loadFromArrayBuffer(refined(await unpacked(bytes(text)), name === "pet"), `${name}.nii`);
      }
      const [pet, masks] = viewer.volumes;
      pet.colormap = "gray";
      pet.colormapInvert = true;
      masks.hdr.intent_code = 1002; // NIFTI_INTENT_LABEL: what is drawn with an outline
      masks.setColormapLabel({R: [0, 0, 213], G: [0, 114, 94], B: [0, 178, 0], A: [0, 255, 255], I: [0, 1, 2], labels: ["", "prostate", "lesion"]});
      apply();
      viewer.scene.crosshairPos = hottest(pet, masks);
      viewer.drawScene();
      viewer.createOnLocationChange();
    } catch (error) {
      status.textContent = `The viewer cannot be shown by this browser (${error.message}); the picture beside stays valid.`;
    }
  };

  // Keys move the crosshair by a voxel of the PET: arrows to the sides and up and down, Page Up and Page Down through the slices.
  // The patient's right, where x grows, is on the left of the screen.
  const KEYS = {ArrowLeft: [1, 0, 0], ArrowRight: [-1, 0, 0], ArrowDown: [0, -1, 0], ArrowUp: [0, 1, 0], PageDown: [0, 0, -1], PageUp: [0, 0, 1]};
  canvas.onkeydown = event => {
    if (!viewer || !(event.key in KEYS)) return;
    event.preventDefault();
    viewer.moveCrosshairInVox(...KEYS[event.key].map(step => step * FINER));
  };
  form.oninput = () => viewer && apply();
  form.onsubmit = event => event.preventDefault();
  dialog.querySelector("[data-close]").onclick = () => dialog.close();
  for (const item of document.querySelectorAll(".gallery > li")) {
    const {patient} = item.dataset;
    if (!volumes[patient]) continue;
    const button = make("button", {type: "button", textContent: "Open the volume", className: "open"});
    button.setAttribute("aria-label", `Open the volume of ${patient}`);
    button.onclick = () => open(patient);
    item.querySelector("figcaption").append(" ", button);
  }
}
