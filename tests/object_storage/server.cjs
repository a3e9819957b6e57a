// An object storage with one bucket, "calls", until it is killed.
//
// Usage: node server.cjs FOLDER PORT
//
// Tells its port in one line. What is in the folder is there again the next time. s3rver takes any
// signature of version 4, so each is held here against the one that aws4 makes.
"use strict";

const aws4 = require("aws4");
const S3rver = require("s3rver");

const [directory, port] = process.argv.slice(2);
const KEY = { accessKeyId: "S3RVER", secretAccessKey: "S3RVER" };
const MOST_AGE_MS = 15 * 60 * 1000;

/** Why a request is refused, by its URL as it came. */
function fault({ method, url, headers }) {
  const [path, query] = url.split("?");
  const asked = new URLSearchParams(query);
  const given = asked.get("X-Amz-Signature");
  if (!given) return "AccessDenied";
  const at = asked.get("X-Amz-Date").replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z");
  if (Math.abs(Date.now() - Date.parse(at)) > MOST_AGE_MS) return "RequestTimeTooSkewed";
  const plain = query.split("&").filter((pair) => !pair.startsWith("X-Amz-Signature=")).join("&");
  const request = { method, host: headers.host, path: `${path}?${plain}`, service: "s3", region: "us-east-1", signQuery: true };
  const own = new URLSearchParams(aws4.sign(request, KEY).path.split("?")[1]).get("X-Amz-Signature");
  return own === given ? null : "SignatureDoesNotMatch";
}

const options = { address: "127.0.0.1", port: Number(port), directory, silent: true };
const server = new S3rver({ ...options, configureBuckets: [{ name: "calls" }] });
server.middleware.unshift(async (context, next) => {
  const code = fault(context.req);
  if (!code) return next();
  context.req.resume();
  context.status = 403;
  context.type = "application/xml";
  context.body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code></Error>`;
});
server.run().then((bound) => console.log(bound.port), (error) => {
  console.error(error);
  process.exit(1);
});
