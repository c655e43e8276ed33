// A scripted control plane for the tests of this repository; it is not published.
export { refusal } from './refusal.ts';
export { type ScriptedServer, startScriptedServer } from './scripted-server.ts';
