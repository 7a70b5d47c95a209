window.slidecube = (function () {
  "use strict";
  var labels = {
    id: "No.", probability_class: "Likelihood", score_class: "Change", status_words: "Status", area_ha: "Area, ha",
    mean_probability: "Mean probability", mean_score: "Mean score", mean_slope_deg: "Mean slope, °",
    epicentre_km: "Epicentre, km", first_seen: "First seen", last_seen: "Last seen", longitude: "Longitude",
    latitude: "Latitude", review: "Review", review_who: "Reviewed by", review_when: "Reviewed", review_note: "Note",
    review_remark: "Remark"
  };
  function model(name) { return window.Bokeh.documents[0].get_model_by_name(name); }
  function words(name, value) {
    if (value === null || value === undefined || value !== value || value === "") { return null; }
    if (name === "first_seen" || name === "last_seen" || name === "review_when") { return new Date(value).toISOString().slice(0, 16).replace("T", " ") + " UTC"; }
    if (typeof value === "number" && value % 1 !== 0) { return String(+value.toFixed(name === "longitude" || name === "latitude" ? 5 : 2)); }
    return String(value);
  }
  function zoom(index) {
    var data = model("landslides").data, xs = [], ys = [];
    Array.prototype.forEach.call(data.xs[index][0][0], function (x) { xs.push(x); });
    Array.prototype.forEach.call(data.ys[index][0][0], function (y) { ys.push(y); });
    var west = Math.min.apply(null, xs), east = Math.max.apply(null, xs);
    var south = Math.min.apply(null, ys), north = Math.max.apply(null, ys);
    var figure = model("map"), range = figure.x_range;
    var ratio = (figure.y_range.end - figure.y_range.start) / (range.end - range.start);
    var half = Math.max((east - west) * 2, (north - south) * 2 / ratio, 0.4);
    range.setv({ start: (west + east) / 2 - half, end: (west + east) / 2 + half });
    figure.y_range.setv({ start: (south + north) / 2 - half * ratio, end: (south + north) / 2 + half * ratio });
  }
  function show(indices) {
    var box = document.getElementById("chosen");
    box.textContent = "";
    if (!indices.length) {
      var hint = document.createElement("p");
      hint.className = "hint";
      hint.textContent = "Click a polygon, or a row of the table.";
      box.appendChild(hint);
      return;
    }
    var index = indices[0], data = model("landslides").data, list = document.createElement("dl");
    Object.keys(labels).forEach(function (name) {
      var text = data[name] === undefined ? null : words(name, data[name][index]);
      if (text === null) { return; }
      var title = document.createElement("dt"), value = document.createElement("dd");
      title.textContent = labels[name];
      value.textContent = text;
      list.appendChild(title);
      list.appendChild(value);
    });
    box.appendChild(list);
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = "Zoom to it";
    button.addEventListener("click", function () { zoom(index); });
    box.appendChild(button);
  }
  Array.prototype.forEach.call(document.querySelectorAll("input[data-layer]"), function (box) {
    box.addEventListener("change", function () { model(box.dataset.layer).visible = box.checked; });
  });
  // a finger that scrolls the page must not move the map
  window.addEventListener("load", function () {
    if (!window.matchMedia || !window.matchMedia("(pointer: coarse)").matches) { return; }
    var tries = 0, timer = setInterval(function () {
      var figure = window.Bokeh && window.Bokeh.documents.length ? model("map") : null;
      if (figure) { figure.toolbar.active_drag = null; }
      if (figure || ++tries > 50) { clearInterval(timer); }
    }, 200);
  });
  var compare = document.getElementById("compare"), slider = compare.querySelector("input");
  slider.addEventListener("input", function () { compare.style.setProperty("--cut", slider.value + "%"); });
  return { show: show };
}());
