const [address, body] = process.argv.slice(2);
var request = require('request');
var options = {
  'method': 'POST',
  'url': address,
  'headers': {
    'Content-Type': 'application/json'
  },
  body: JSON.stringify(JSON.parse(body))
};
request(options, function (error, response) {
  if (error) throw new Error(error);
  console.log(response.body);
});
