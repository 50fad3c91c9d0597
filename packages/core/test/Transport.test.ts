import { fromSocket, memory, transportSuite } from "./support/transports.ts"

transportSuite("makeMemory", memory)
transportSuite("fromSocket", fromSocket)
