"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const viewer = $3Dmol.createViewer(document.getElementById("view"), {backgroundColor: "white"});
  const elements = {N: "#3050F8", O: "#FF0D0D", S: "#C8A800", P: "#FF8000"};
  const scheme = color => ({prop: "elem", map: Object.assign({}, elements, {C: color})});
  const stick = (color, radius) => ({stick: {radius: radius, colorscheme: scheme(color)}});
  viewer.addModel(data.backbone, "pdb").setStyle({}, {cartoon: {color: data.cartoon, style: "trace", opacity: 0.6}});
  const shown = [viewer.addModel(data.native, "xyz"), ...data.designs.map(text => viewer.addModel(text, "xyz"))];
  const ligand = viewer.addModel(data.ligand, "xyz");
  ligand.setStyle({}, stick(data.ligandColor, 0.22));
  const boxes = Array.from(document.querySelectorAll("input[data-model]"));
  function draw() {
    boxes.forEach(box => {
      const k = Number(box.dataset.model);
      shown[k].setStyle({}, box.checked ? stick(data.colors[k], k ? 0.14 : 0.1) : {});
    });
    viewer.render();
  }
  boxes.forEach(box => box.addEventListener("change", draw));
  draw();
  viewer.zoomTo({model: shown[0].getID()});
  viewer.render();
})();
