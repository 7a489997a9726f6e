// SPDX-License-Identifier: GPL-2.0
"use strict";

// Unfold the table that has the row to which a link leads.
function showTarget() {
	const target = document.getElementById(location.hash.slice(1));
	const folded = target && target.closest("details");

	if (folded && !folded.open) {
		folded.open = true;
		target.scrollIntoView({block: "center"});
	}
}

addEventListener("hashchange", showTarget);
showTarget();

const data = JSON.parse(document.getElementById("animation").textContent);
const COLUMNS = 32;
const SECONDS_OF_PLAY = 12;
const still = matchMedia("(prefers-reduced-motion: reduce)");

function rgb(colour) {
	return [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));
}

const colours = data.kinds.map(kind =>
	kind in data.colours ? rgb(data.colours[kind]) : null);

// One pixel for each block; free blocks stay transparent.
function drawMap(canvas, letters) {
	const rows = Math.ceil(letters.length / COLUMNS);

	canvas.width = COLUMNS;
	canvas.height = rows;
	const context = canvas.getContext("2d");
	const image = context.createImageData(COLUMNS, rows);

	for (let i = 0; i < letters.length; i++) {
		const code = letters.charCodeAt(i) - data.first;
		const colour = colours[Math.floor(code / data.fills)];
		const full = code % data.fills / (data.fills - 1);

		if (colour)
			image.data.set([...colour, 255 * (0.15 + 0.85 * full)], 4 * i);
	}
	context.putImageData(image, 0, 0);
}

// Return the last map that is not later than a moment.
function mapAt(course, seconds) {
	let found = 0;

	while (found + 1 < course.times.length && course.times[found + 1] <= seconds)
		found++;
	return course.maps[found];
}

function player(element) {
	const run = data.runs[element.dataset.run];
	const canvases = element.querySelectorAll("canvas");
	const button = element.querySelector("button");
	const range = element.querySelector("input");
	const output = element.querySelector("output");
	const end = Math.max(...run.courses.map(c => c.times[c.times.length - 1]));
	let playing = false, before = 0, position = 1;

	function show() {
		const seconds = position * end;

		run.courses.forEach((course, i) =>
			drawMap(canvases[i], mapAt(course, seconds)));
		range.value = position * range.max;
		output.textContent = `${seconds.toFixed(1)} s`;
	}

	function step(now) {
		if (!playing)
			return;
		position += (now - before) / 1000 / SECONDS_OF_PLAY;
		before = now;
		if (position > 1)
			position = 0;
		show();
		requestAnimationFrame(step);
	}

	function play(yes) {
		playing = yes;
		button.textContent = yes ? "Pause" : "Play";
		before = performance.now();
		if (yes)
			requestAnimationFrame(step);
	}

	button.addEventListener("click", () => play(!playing));
	range.addEventListener("input", () => {
		play(false);
		position = range.value / range.max;
		show();
	});
	still.addEventListener("change", () => play(!still.matches));
	show();
	play(!still.matches);
}

document.querySelectorAll(".player").forEach(player);
