"""An S3 server on loopback that believes signatures only: moto, behind a check of AWS Signature Version 4 in query strings.

    s3_server.py PORT ACCESS_KEY SECRET_KEY BUCKET

Prints "ready" when it listens, with the bucket made. What is signed is computed here from the request and from nothing of the client's.
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""
import hashlib
import hmac
import sys
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, quote

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

port, access_key, secret_key, bucket = sys.argv[1:]


def keyed(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def verdict(environ):
    """The code of the refusal, or none."""
    query = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
    try:
        given, credential = query.pop("X-Amz-Signature"), query["X-Amz-Credential"]
        moment, names = query["X-Amz-Date"], query["X-Amz-SignedHeaders"].split(";")
        expires = timedelta(seconds=int(query["X-Amz-Expires"]))
    except KeyError:
        return "AccessDenied"
    key, *scope = credential.split("/")
    if key != access_key:
        return "InvalidAccessKeyId"
    begun = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    if not begun - timedelta(minutes=5) <= datetime.now(timezone.utc) <= begun + expires:
        return "AccessDenied"
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    if "host" not in names or any(name.startswith("x-amz-") and name not in names for name in headers):
        return "AccessDenied"
    canonical_query = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(query.items()))
    canonical_headers = "".join(f"{name}:{headers.get(name, '').strip()}\n" for name in names)
    path = quote(environ["PATH_INFO"].encode("latin-1").decode(), safe="/-_.~")
    request = "\n".join([environ["REQUEST_METHOD"], path, canonical_query, canonical_headers, ";".join(names), "UNSIGNED-PAYLOAD"])
    text = "\n".join(["AWS4-HMAC-SHA256", moment, "/".join(scope), hashlib.sha256(request.encode()).hexdigest()])
    signing = ("AWS4" + secret_key).encode()
    for part in scope:
        signing = keyed(signing, part)
    return None if hmac.compare_digest(keyed(signing, text).hex(), given) else "SignatureDoesNotMatch"


moto = DomainDispatcherApplication(create_backend_app)


def checked(environ, start_response):
    code = verdict(environ)
    if code is None:
        return moto(environ, start_response)
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>refused</Message></Error>".encode()
    start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


if bucket != "-":
    from moto.s3.models import s3_backends

    s3_backends["123456789012"]["aws"].create_bucket(bucket, "us-east-1")
server = make_server("127.0.0.1", int(port), checked, threaded=True)
print("ready", flush=True)
server.serve_forever()
