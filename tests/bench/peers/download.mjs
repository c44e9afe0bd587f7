// What most Node services do: fetch for the body, lib-storage for the upload.
import { Readable } from "node:stream";
import { S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";

const answer = await fetch(process.env.BENCH_SOURCE, { headers: { authorization: "Bearer synthetic" } });
if (!answer.ok) throw new Error(`the source answered ${answer.status}`);
const client = new S3Client({
  endpoint: process.env.BENCH_SINK,
  region: "us-east-1",
  forcePathStyle: true,
});
await new Upload({
  client,
  params: { Bucket: "bench", Key: "node", Body: Readable.fromWeb(answer.body) },
}).done();
