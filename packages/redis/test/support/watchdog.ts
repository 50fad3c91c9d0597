/**
 * Sees to it that a process does not outlive the one that has started it, however that one ends.
 */
import { type ChildProcess, spawn } from "node:child_process"

/** Kills a process when this one has ended, and then removes a directory. It may be stopped, or ignore other signals. */
export const watch = (child: ChildProcess, directory = ""): void => {
  if (child.pid === undefined) return
  // It reads until this process, which alone holds the other end, is gone; and is not reached by what ends a terminal's job.
  const script = "read -r _; kill -9 \"$1\"; [ -z \"$2\" ] || rm -rf \"$2\""
  const watchdog = spawn("sh", ["-c", script, "watchdog", String(child.pid), directory], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"]
  })
  watchdog.unref()
  watchdog.on("error", () => {})
  watchdog.stdin.on("error", () => {})
  ;(watchdog.stdin as { readonly unref?: () => void }).unref?.()
  // Another process may have its id from then on.
  child.once("exit", () => watchdog.kill("SIGKILL"))
}
