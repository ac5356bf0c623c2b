const [address, body] = process.argv.slice(2);
var myHeaders = new Headers();
myHeaders.append("Content-Type", "application/json");
var requestOptions = {
  method: 'POST',
  headers: myHeaders,
  body: JSON.stringify(JSON.parse(body)),
  redirect: 'follow'
};
fetch(address, requestOptions)
  .then(response => response.text())
  .then(result => console.log(result))
  .catch(error => console.log('error', error));
