// An echo by ws, and "ok" to any other request: echo.js PORT
const { createServer } = require("node:http");
const { WebSocketServer } = require("ws");

const server = createServer((request, response) => response.end("ok"));
const sockets = new WebSocketServer({ server });
sockets.on("connection", (socket) =>
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary })),
);
server.listen(Number(process.argv[2]), "127.0.0.1");
