import argparse
import json
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from shop import price


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/health":
            return self.answer(200, {"status": "open"})
        if url.path != "/price":
            return self.answer(404, {"error": "no such page"})
        try:
            basket = {product: int(count) for product, count in parse_qsl(url.query)}
            return self.answer(200, {"price": price(basket)})
        except (KeyError, ValueError) as error:
            return self.answer(400, {"error": f"no such product or count: {error}"})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    parser = argparse.ArgumentParser(prog="shop")
    parser.add_argument("--port", type=int)
    parser.add_argument("--check", metavar="URL")
    arguments = parser.parse_args()
    if arguments.check:
        try:
            with urllib.request.urlopen(arguments.check, timeout=2) as answer:
                return 0 if answer.status == 200 else 1
        except OSError as error:
            print(error, file=sys.stderr)
            return 1
    ThreadingHTTPServer(("", arguments.port), Shop).serve_forever()


sys.exit(main())
