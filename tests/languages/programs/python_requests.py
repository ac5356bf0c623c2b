import json
import sys

import requests

address, body = sys.argv[1:]
headers = {"Content-Type": "application/json"}
response = requests.request("POST", address, headers=headers, data=json.dumps(json.loads(body)))
print(response.text)
