exec curl --silent --http2 --request POST "$1" --header 'Content-Type: application/json' --data-raw "$2"
