// The volume viewer: NiiVue, unpacked when it is first asked for.
{
  const dialog = document.getElementById("viewer"), form = dialog.querySelector("form");
  const status = dialog.querySelector("[role=status]"), canvas = dialog.querySelector("canvas");
  const volumes = JSON.parse(document.getElementById("volumes").textContent);
  const bytes = text => Uint8Array.from(atob(text.trim()), letter => letter.charCodeAt(0));
  let viewer;

  const start = async () => {
    const packed = new Blob([bytes(document.getElementById("engine").textContent)]);
    const text = await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).text();
    document.head.append(make("script", {textContent: text}));
    const made = new niivue.Niivue({
      backColor: [1, 1, 1, 1], crosshairColor: [0.3, 0.3, 0.3, 1], crosshairWidth: 0.5, fontColor: [0.1, 0.1, 0.1, 1],
      isColorbar: false, isRadiologicalConvention: true, sagittalNoseLeft: true, loadingText: "", logLevel: "error",
      dragAndDropEnabled: false, multiplanarShowRender: 1,
    });
    made.onLocationChange = place => {
      const [suv, label] = place.values.map(value => value.value);
      const where = ["outside the prostate", "prostate", "lesion"][Math.round(label)] ?? "";
      status.textContent = `SUV ${suv.toFixed(1)}, ${where}`;
    };
    await made.attachToCanvas(canvas);
    return made;
  };

  const apply = () => {
    const [pet, masks] = viewer.volumes, top = Number(form.top.value);
    form.querySelector("output").textContent = top;
    [pet.cal_min, pet.cal_max] = [0, top];
    masks.opacity = form.masks.checked ? 0.35 : 0;
    viewer.updateGLVolume();
    viewer.setSliceType(Number(form.view.value));
  };

  const open = async patient => {
    dialog.querySelector("h2").textContent = patient;
    status.textContent = "Loading";
    dialog.showModal();
    try {
      viewer ??= await start();
      [...viewer.volumes].reverse().forEach(volume => viewer.removeVolume(volume));
      for (const [name, text] of Object.entries({pet: volumes[patient][0], masks: volumes[patient][1]})) {
        await viewer.loadFromArrayBuffer(bytes(text).buffer, `${name}.nii.gz`);
      }
      const [pet, masks] = viewer.volumes;
      pet.colormap = "gray";
      pet.colormapInvert = true;
      masks.setColormapLabel({R: [0, 0, 213], G: [0, 114, 94], B: [0, 178, 0], A: [0, 255, 255], I: [0, 1, 2], labels: ["", "prostate", "lesion"]});
      apply();
      status.textContent = "Drag or use the wheel; the crosshair tells the SUV.";
    } catch (error) {
      status.textContent = `The viewer cannot be shown by this browser (${error.message}); the picture beside stays valid.`;
    }
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
