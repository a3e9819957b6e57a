// An object storage with one bucket, "calls", until it is killed.
//
// Usage: node server.cjs FOLDER PORT
//
// Tells its port in one line. What is in the folder is there again the next time.
"use strict";

const S3rver = require("s3rver");

const [directory, port] = process.argv.slice(2);
const options = { address: "127.0.0.1", port: Number(port), directory, silent: true };
const server = new S3rver({ ...options, configureBuckets: [{ name: "calls" }] });
server.run().then((bound) => console.log(bound.port), (error) => {
  console.error(error);
  process.exit(1);
});
