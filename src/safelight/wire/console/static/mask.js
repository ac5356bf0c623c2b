// A mask painted over the picture to start from: white where it is to be made anew, black elsewhere, sent as a PNG.
const form = document.querySelector("#make");
const canvas = form.querySelector("canvas.mask");
const brush = form.querySelector(".brush");
const rub = form.querySelector("[data-mask=erase]");
const paint = canvas.getContext("2d", { willReadFrequently: true });
const at = { x: 0, y: 0 };
let painting = false;
let touched = false;

form.addEventListener("easel", ({ detail: picture }) => {
  canvas.width = picture ? picture.naturalWidth : 1;
  canvas.height = picture ? picture.naturalHeight : 1;
  at.x = canvas.width / 2;
  at.y = canvas.height / 2;
  touched = false;
});

// What is painted is opaque on the canvas, and shown through its style as a tint.
function stroke(x, y) {
  const wide = Number(brush.value) * (canvas.width / canvas.clientWidth);
  paint.globalCompositeOperation = rub.getAttribute("aria-pressed") === "true" ? "destination-out" : "source-over";
  paint.strokeStyle = paint.fillStyle = "#fff";
  paint.lineCap = "round";
  paint.lineWidth = wide;
  paint.beginPath();
  paint.moveTo(at.x, at.y);
  paint.lineTo(x, y + 0.01);
  paint.stroke();
  Object.assign(at, { x, y });
  touched = true;
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  painting = true;
  [at.x, at.y] = place(event);
  stroke(at.x, at.y);
});
canvas.addEventListener("pointermove", (event) => painting && stroke(...place(event)));
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (painting = false));

const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let down = false;
canvas.addEventListener("keydown", (event) => {
  const move = moves[event.key];
  if (event.key === " ") down = true;
  else if (!move) return;
  event.preventDefault();
  const far = canvas.width / 40;
  const x = Math.min(canvas.width, Math.max(0, at.x + (move ? move[0] * far : 0)));
  const y = Math.min(canvas.height, Math.max(0, at.y + (move ? move[1] * far : 0)));
  if (down) stroke(x, y);
  else Object.assign(at, { x, y });
});
canvas.addEventListener("keyup", (event) => event.key === " " && (down = false));

rub.addEventListener("click", () =>
  rub.setAttribute("aria-pressed", String(rub.getAttribute("aria-pressed") !== "true")),
);
form.querySelector("[data-mask=clear]").addEventListener("click", () => {
  paint.clearRect(0, 0, canvas.width, canvas.height);
  touched = false;
});
form.querySelector("[data-mask=invert]").addEventListener("click", () => {
  paint.globalCompositeOperation = "xor";
  paint.fillStyle = "#fff";
  paint.fillRect(0, 0, canvas.width, canvas.height);
  touched = true;
});

// Black under white, so that the server reads lightness and nothing of transparency.
function masked() {
  const whole = document.createElement("canvas");
  whole.width = canvas.width;
  whole.height = canvas.height;
  const flat = whole.getContext("2d");
  flat.fillRect(0, 0, whole.width, whole.height);
  flat.drawImage(canvas, 0, 0);
  const bytes = Uint8Array.from(atob(whole.toDataURL("image/png").split(",")[1]), (letter) => letter.charCodeAt(0));
  return new File([bytes], "mask.png", { type: "image/png" });
}

form.addEventListener("htmx:configRequest", ({ target, detail }) => {
  if (target === form && touched && form.querySelector("#init").files.length) detail.formData.set("mask", masked());
});
