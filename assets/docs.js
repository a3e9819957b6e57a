// Shows /openapi.json: every call with what it takes and answers, and a form to try it.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete", "options"];
const DEPTH_MAX = 6;
const SHOWN_MAX = 100_000;
let api;

// Makes an element. Texts stay texts: nothing of the document is ever read as HTML.
function make(name, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(name), attributes);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// A text with its `quoted` parts as code.
function prose(text = "") {
  const parts = text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
  return make("span", {}, ...parts);
}

function resolve(schema = {}) {
  if (!schema.$ref) return schema;
  const target = schema.$ref.split("/").slice(1).reduce((at, key) => at?.[key], api);
  return { title: schema.$ref.split("/").pop(), ...target };
}

function isNull(schema) {
  return resolve(schema).type === "null";
}

// The types of a schema, but for null, and whether it may be null.
function kindsOf(schema) {
  const types = [schema.type ?? []].flat();
  return { kinds: types.filter((type) => type !== "null"), nullable: types.includes("null") };
}

// The properties of a schema, those of its parts included.
function propertiesOf(given) {
  const schema = resolve(given);
  const parts = (schema.allOf ?? []).map(propertiesOf);
  return Object.assign({}, ...parts, schema.properties);
}

function isRequired(given, name) {
  const schema = resolve(given);
  return schema.required?.includes(name) || schema.allOf?.some((part) => isRequired(part, name));
}

// What a schema says of itself, or else what the only thing says that it can be.
function aboutOf(given) {
  const schema = resolve(given);
  const others = (schema.oneOf ?? []).filter((one) => !isNull(one));
  return schema.description ?? (others.length === 1 ? aboutOf(others[0]) : undefined);
}

function typeOf(given) {
  const schema = resolve(given);
  const either = schema.oneOf || schema.anyOf;
  if (either) return either.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map((word) => JSON.stringify(word)).join(" or ");
  const { kinds, nullable } = kindsOf(schema);
  const words = kinds.map((kind) => (kind === "array" ? `list of ${typeOf(schema.items)}` : kind));
  if (!words.length && !nullable) words.push(schema.allOf ? "object" : "anything");
  return schema.title || [...words, ...(nullable ? ["null"] : [])].join(" or ");
}

function boundsOf(schema) {
  const range = (least, most, unit) => {
    if (least === undefined && most === undefined) return [];
    return [`${least ?? "any"} to ${most ?? "any"}${unit}`];
  };
  return [
    ...range(schema.minimum, schema.maximum, ""),
    ...range(schema.minLength, schema.maxLength, " characters"),
    ...range(schema.minItems, schema.maxItems, " entries"),
    ...(schema.pattern ? [`matches ${schema.pattern}`] : []),
    ...(schema.format === "date-time" ? ["a time as in ISO 8601"] : []),
  ].join(", ");
}

// The fields of an object, each with what is inside it.
function fields(given, depth = 0) {
  const schema = resolve(given);
  if (depth > DEPTH_MAX) return null;
  if (kindsOf(schema).kinds.includes("array")) return fields(schema.items, depth + 1);
  const either = schema.oneOf || schema.anyOf;
  if (either) {
    const lists = either.filter((one) => !isNull(one)).map((one) => fields(one, depth + 1));
    return make("div", {}, ...lists);
  }
  const entries = Object.entries(propertiesOf(schema));
  if (!entries.length) return null;
  return make("ul", {}, ...entries.map(([name, value]) => {
    const required = isRequired(schema, name);
    const inner = resolve(value);
    const about = [typeOf(value), boundsOf(inner)].filter(Boolean).join("; ");
    return make("li", {},
      make("code", {}, name), required ? "" : "?", " ",
      make("span", { className: "muted" }, about), " ", prose(aboutOf(inner)),
      fields(value, depth + 1));
  }));
}

// A value that fits a schema, made of its examples.
function example(given, depth = 0) {
  const schema = resolve(given);
  if (schema.example !== undefined) return schema.example;
  if (schema.enum) return schema.enum[0];
  const either = schema.oneOf || schema.anyOf;
  if (either) return example(either.find((one) => !isNull(one)) ?? {}, depth + 1);
  const [type] = kindsOf(schema).kinds;
  if (type === "array") return depth > DEPTH_MAX ? [] : [example(schema.items, depth + 1)];
  if (type === "object") {
    const wanted = Object.entries(propertiesOf(schema)).filter(([name, value]) =>
      isRequired(schema, name) || hasExample(value));
    return Object.fromEntries(wanted.map(([name, value]) => [name, example(value, depth + 1)]));
  }
  return { string: "", integer: 1, number: 1, boolean: true }[type] ?? null;
}

function hasExample(given) {
  const schema = resolve(given);
  const inner = [...Object.values(propertiesOf(schema)), ...(schema.oneOf ?? []),
    ...(schema.items ? [schema.items] : [])];
  return schema.example !== undefined || inner.some(hasExample);
}

function contentOf(content = {}) {
  const [kind, media] = Object.entries(content)[0] ?? [];
  return { kind, schema: media?.schema };
}

function answers(operation) {
  const rows = Object.entries(operation.responses).map(([status, answer]) => {
    const { kind, schema } = contentOf(answer.content);
    const headers = Object.keys(answer.headers ?? {}).join(", ");
    const about = [kind, schema && typeOf(schema), headers && `with ${headers}`];
    const isError = resolve(schema).title === "Error";
    return make("tr", {}, make("td", {}, make("b", {}, status)),
      make("td", {}, prose(answer.description), " ",
        make("span", { className: "muted" }, about.filter(Boolean).join(", ")),
        schema && !isError ? fields(schema) : null));
  });
  return make("table", {}, ...rows);
}

function parameters(operation) {
  const rows = (operation.parameters ?? []).map((one) => make("tr", {},
    make("td", {}, make("code", {}, one.name), one.required ? "" : "?"),
    make("td", {}, prose(one.description), " ", make("span", { className: "muted" },
      [`in the ${one.in}`, typeOf(one.schema), boundsOf(one.schema)].filter(Boolean).join("; ")))));
  return rows.length ? make("table", {}, ...rows) : null;
}

function whoMayAsk(operation) {
  const schemes = (operation.security ?? []).map((one) => Object.keys(one)[0]);
  if (!schemes.length) return "No key is needed.";
  const about = (name) => api.components.securitySchemes[name]?.description ?? name;
  return schemes.map((name) => (name ? about(name) : "Nothing.")).join(" Or: ");
}

// What is asked, as fetch wants it.
function requestOf(method, path, operation, inputs, body) {
  const headers = {};
  const key = document.getElementById("key").value.trim();
  const token = document.getElementById("token").value.trim();
  if (key) headers["X-API-Key"] = key;
  if (token) headers.Authorization = `Bearer ${token}`;
  const query = new URLSearchParams();
  let url = path;
  for (const [parameter, input] of inputs) {
    if (parameter.in === "path") {
      url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    } else if (parameter.in === "query" && input.value !== "") {
      query.set(parameter.name, input.value);
    }
  }
  if (`${query}`) url += `?${query}`;
  const options = { method: method.toUpperCase(), headers };
  if (body && body.value.trim() !== "") {
    headers["Content-Type"] = contentOf(operation.requestBody.content).kind;
    options.body = body.value;
  }
  return [url, options];
}

async function show(output, request) {
  const [url, options] = request;
  output.textContent = `${options.method} ${url} …`;
  try {
    const response = await fetch(url, options);
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json");
    const body = isJson ? JSON.stringify(JSON.parse(text), null, 2) : text;
    const head = `${response.status} ${response.statusText}`;
    output.textContent = `${options.method} ${url}\n${head}\n\n${body.slice(0, SHOWN_MAX)}`;
  } catch (error) {
    output.textContent = `${options.method} ${url}\n${error}`;
  }
}

function trial(method, path, operation) {
  const isStream = "text/event-stream" in (operation.responses[200]?.content ?? {});
  if (isStream) return make("p", { className: "muted" }, "A stream: open it with EventSource.");
  const inputs = (operation.parameters ?? []).map((one) => [one, make("input", {
    placeholder: one.required ? "" : "optional", ariaLabel: one.name,
  })]);
  const { kind, schema } = contentOf(operation.requestBody?.content);
  const body = kind && make("textarea", { rows: 8, spellcheck: false, ariaLabel: "body" });
  if (body && kind === "application/json") {
    body.value = JSON.stringify(example(schema), null, 2);
  }
  const output = make("pre", { className: "whole", hidden: true });
  const send = make("button", { type: "button" }, "Send");
  send.addEventListener("click", () => {
    output.hidden = false;
    show(output, requestOf(method, path, operation, inputs, body));
  });
  const rows = inputs.flatMap(([one, input]) => [make("label", {}, one.name), input]);
  return make("fieldset", {}, make("legend", {}, "Try it"), ...rows,
    body ? make("div", { className: "whole" }, body) : null,
    make("div", { className: "whole" }, send), output);
}

function call(method, path, operation) {
  const { kind, schema } = contentOf(operation.requestBody?.content);
  const inside = make("div");
  const details = make("details", { id: operation.operationId },
    make("summary", {}, make("span", { className: "method" }, method.toUpperCase()),
      make("span", { className: "path" }, path), " ",
      make("span", { className: "muted" }, prose(operation.summary))), inside);
  const open = () => inside.replaceChildren(
    make("p", {}, prose(operation.description)),
    make("p", { className: "muted" }, prose(whoMayAsk(operation))),
    parameters(operation) ?? "",
    ...(kind ? [make("h4", {}, "Body"), make("span", { className: "muted" }, kind),
      fields(schema) ?? ""] : []),
    make("h4", {}, "Answers"), answers(operation), trial(method, path, operation));
  details.addEventListener("toggle", open, { once: true });
  return details;
}

function section(tag) {
  const calls = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]?.tags?.includes(tag.name))
      .map((method) => call(method, path, item[method])));
  return make("section", {}, make("h2", {}, tag.name), make("p", {}, prose(tag.description)),
    ...calls);
}

async function start() {
  const about = document.getElementById("about");
  try {
    api = await (await fetch("/openapi.json")).json();
  } catch (error) {
    about.textContent = `The description cannot be read: ${error}`;
    return;
  }
  document.getElementById("title").append(` ${api.info.version}`);
  about.replaceChildren(prose(api.info.description));
  document.getElementById("calls").append(...api.tags.map(section));
  const wanted = document.getElementById(location.hash.slice(1));
  if (wanted instanceof HTMLDetailsElement) wanted.open = true;
}

start();
