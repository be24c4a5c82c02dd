// A slider for each stack of pictures. Without this the middle picture is shown.
document.querySelectorAll(".stack").forEach(function (stack) {
  var frames = Array.from(stack.querySelectorAll(".frames img"));
  if (frames.length < 2) return;
  var where = stack.querySelector(".where");
  var slider = document.createElement("input");
  slider.type = "range";
  slider.min = 0;
  slider.max = frames.length - 1;
  slider.value = frames.findIndex(function (f) { return !f.hidden; });
  slider.setAttribute("aria-label", stack.querySelector("h3").textContent);
  slider.addEventListener("input", function () {
    frames.forEach(function (f, i) { f.hidden = i !== Number(slider.value); });
    where.textContent = frames[slider.value].dataset.text;
  });
  stack.querySelector(".turn").prepend(slider);
});
