// A client of Lambda's Runtime API. AWS's own (`aws-lambda-ric`) needs cmake to install and does more before its
// first request, so Node's results are slightly better here than in Lambda.
import { Agent, request } from "node:http";
import { handler } from "./webhook.mjs";

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const options = { agent, hostname, port, method, path: `/2018-06-01/runtime${path}` };
    const sent = request(options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(chunks).toString() }));
      response.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

async function run() {
  for (;;) {
    const { headers, body } = await call("GET", "/invocation/next");
    const id = headers["lambda-runtime-aws-request-id"];
    try {
      await call("POST", `/invocation/${id}/response`, JSON.stringify(await handler(JSON.parse(body))));
    } catch (error) {
      const report = { errorType: error.name, errorMessage: error.message };
      await call("POST", `/invocation/${id}/error`, JSON.stringify(report));
    }
  }
}

run();
