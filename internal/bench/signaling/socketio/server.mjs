// Socket.IO with its defaults, behind the same control paths as servers.go.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { Server } from "socket.io";

const web = createServer();
const io = new Server(web, {
  serveClient: false,
  transports: ["websocket"],
  pingInterval: Number(process.env.BENCH_PING) || 25000,
  perMessageDeflate: process.env.BENCH_DEFLATE === "1",
  cors: { origin: "http://bench" },
});

io.on("connection", (socket) => {
  socket.join("i" + socket.handshake.query.i);
  socket.on("echo", (m) => socket.emit("echo", m));
  socket.on("relay", (m) => io.to("i" + m.to).emit("relay", m));
});

const msgs = JSON.parse(process.env.BENCH_MESSAGES).map((m) => JSON.parse(m));
let next = 0;

function status(field) {
  const m = readFileSync("/proc/self/status", "utf8").match(new RegExp(field + ":\\s+(\\d+)"));
  return Number(m[1]) * 1024;
}

web.prependListener("request", (req, res) => {
  const url = new URL(req.url, "http://x");
  let answer = 0;
  switch (url.pathname) {
    case "/broadcast":
      for (let n = Number(url.searchParams.get("n")); n > 0; n--) io.emit("b", msgs[next++ % msgs.length]);
      break;
    case "/settled":
      for (let i = 0; i < 3; i++) globalThis.gc();
      answer = status("VmRSS");
      break;
    case "/steady":
      answer = status("VmRSS");
      break;
    case "/live": {
      const m = process.memoryUsage();
      answer = m.heapUsed + m.external;
      break;
    }
    case "/peak":
      answer = status("VmHWM");
      break;
    case "/cpu": {
      const u = process.cpuUsage();
      answer = u.user + u.system;
      break;
    }
    default:
      return;
  }
  res.end(String(answer));
});

web.listen(0, "127.0.0.1", () => console.log("127.0.0.1:" + web.address().port));
