// As most Node services do it: fetch for the body, lib-storage for the upload.
import { Readable } from "node:stream";
import { S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";

const response = await fetch(process.env.BENCH_SOURCE, { headers: { authorization: "Bearer synthetic" } });
if (!response.ok) throw new Error(`the source responded with status ${response.status}`);
const client = new S3Client({
  endpoint: process.env.AWS_ENDPOINT_URL_S3,
  region: "us-east-1",
  forcePathStyle: true,
});
await new Upload({
  client,
  params: { Bucket: "bench", Key: "node", Body: Readable.fromWeb(response.body) },
}).done();
