// Loaded before fauxqs (node --require): whatever it asks for, every server of this process listens on loopback only.
"use strict";
const net = require("node:net");
const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (...args) {
  if (args[0] !== null && typeof args[0] === "object" && "port" in args[0]) {
    args[0] = { ...args[0], host: "127.0.0.1" };
  } else {
    throw new Error(`loopback.cjs: listen(${typeof args[0]}) is a form it does not know, so it is refused`);
  }
  return listen.apply(this, args);
};
