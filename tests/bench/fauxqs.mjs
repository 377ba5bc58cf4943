// fauxqs without a log line for each request, which its own command cannot do. argv: its entry file. Says its address on stdout.
import { pathToFileURL } from "node:url";

const { startFauxqs } = await import(pathToFileURL(process.argv[2]).href);
const server = await startFauxqs({ port: 0, logger: false });
console.log(`http://127.0.0.1:${server.port}`);
process.on("SIGTERM", () => process.exit(0));
