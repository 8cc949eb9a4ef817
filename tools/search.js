// Asks the search of the built site: node search.js SITE WORKER < queries, one a line; prints for each the places found, as JSON.
// The worker is what browsers run: here it finds what it needs of a browser.
const fs = require("fs");
const vm = require("vm");

const [site, worker] = process.argv.slice(2);
let answer;
globalThis.self = globalThis;
globalThis.postMessage = (message) => answer(message.data);
vm.runInThisContext(fs.readFileSync(worker, "utf8"));

function ask(type, data) {
  return new Promise((resolve) => {
    answer = resolve;
    self.onmessage({ data: { type, data } });
  });
}

async function main() {
  const index = JSON.parse(fs.readFileSync(`${site}/search.json`, "utf8"));
  await ask(0, index);
  for (const input of fs.readFileSync(0, "utf8").split("\n").filter(Boolean)) {
    const found = await ask(2, {
      input,
      filter: {
        input: { type: "operator", data: { operator: "and", operands: [] } },
        aggregation: { input: [{ type: "term", data: { field: "tags" } }] },
      },
    });
    console.log(JSON.stringify(found.items.map(({ id }) => index.items[id].location)));
  }
}

main();
