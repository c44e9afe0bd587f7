"""As most Python services do it: requests for the body, boto3's transfer manager for the upload."""

import os

import boto3
import requests
from botocore.config import Config

ca = os.environ["BENCH_CA"] if os.environ["BENCH_SOURCE"].startswith("https") else None
s3 = boto3.client(
    "s3",
    endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"],
    region_name="us-east-1",
    verify=ca,
    config=Config(s3={"addressing_style": "path"}),
)
with requests.get(
    os.environ["BENCH_SOURCE"],
    headers={"Authorization": "Bearer synthetic"},
    stream=True,
    verify=ca,
) as response:
    response.raise_for_status()
    s3.upload_fileobj(response.raw, "bench", "python")
