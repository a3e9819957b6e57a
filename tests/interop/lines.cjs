// How a script talks to the test that has started it: one JSON value a line, both ways.
"use strict";

const readline = require("node:readline");

/** Tells the test something. */
function tell(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Calls `on` with every order of the test, and `end` when the test gives no more. */
function obey(on, end) {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (line) => on(JSON.parse(line)));
  lines.on("close", end);
}

/** Ends the script with a failing status after so long, whatever it waits for. */
function deadline(seconds) {
  setTimeout(() => {
    console.error(`${process.argv[1]}: not done after ${seconds} s`);
    process.exit(1);
  }, seconds * 1000).unref();
}

module.exports = { tell, obey, deadline };
