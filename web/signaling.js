// SPDX-License-Identifier: MIT
// The connection to the server: it holds a code, of which the server tells nobody who does not know it, and comes back
// by itself when it breaks.

const ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const KEY_BYTES = 32;
const RECONNECT_MS = 5000;
const PING_MS = 20000;
const ICE_SERVERS_MS = 2000;
// Policy, no leave: to try again unchanged is of no use.
const FINAL_CLOSES = [1008, 4401];
const REPLACED = 4000;

export const CODE = new RegExp(`^[${ALPHABET}]{6}$`);

function randomCode() {
    // 32 letters: five bits choose one, each as likely as the others.
    return Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => ALPHABET[byte & 31]).join("");
}

/* The server wants a public key from everybody. Here it stands for nothing: browsers exchange keys of their own. */
function randomKey() {
    return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(KEY_BYTES))));
}

function open(path) {
    const url = new URL(path, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    return new WebSocket(url);
}

function parse(data) {
    try {
        const message = JSON.parse(data);
        return typeof message?.type === "string" ? message : null;
    } catch {
        return null;
    }
}

/* on: ready(code), at every registration; lost(), before each new attempt; ended(), when there will be none;
   message(message), once it is ready. */
export class Signaling {
    #on;
    #socket = null;
    #key;
    #closed = false;
    #ready = false;
    #heard = false;

    constructor(on) {
        this.#on = on;
        this.code = randomCode();
        this.#key = randomKey();
        this.#open();
        setInterval(() => this.#look(), PING_MS);
    }

    get ready() {
        return this.#ready;
    }

    /* false: there is no connection to send it on. */
    send(message) {
        if (this.#ready) {
            this.#socket.send(JSON.stringify(message));
        }
        return this.#ready;
    }

    /* For good: the code is free again. */
    close() {
        const socket = this.#socket;
        this.#closed = true;
        this.#ready = false;
        this.#socket = null;
        socket?.close();
    }

    #open() {
        if (this.#closed) {
            return;
        }
        const socket = this.#socket = open("/client");
        socket.onopen = () => this.#register();
        socket.onmessage = ({data}) => {
            const message = parse(data);
            this.#heard = true;
            if (message && this.#socket === socket) {
                this.#take(message);
            }
        };
        socket.onclose = ({code}) => {
            if (this.#socket === socket) {
                this.#lost(code);
            }
        };
    }

    #register() {
        this.#socket.send(JSON.stringify({type: "register", pairingCode: this.code, publicKey: this.#key}));
    }

    #take(message) {
        if (this.#ready) {
            if (message.type !== "pong") {
                this.#on.message(message);
            }
        } else if (message.type === "registered") {
            this.#ready = true;
            this.#on.ready(this.code);
        } else if (message.type === "code_collision") {
            this.code = randomCode();
            this.#register();
        } else if (message.type === "error") {
            this.#socket.close();
        }
    }

    #lost(code) {
        this.#socket = null;
        this.#ready = false;
        if (FINAL_CLOSES.includes(code)) {
            this.#on.ended();
            return;
        }
        if (code === REPLACED) {
            this.code = randomCode();
        }
        this.#on.lost();
        setTimeout(() => this.#open(), Math.random() * RECONNECT_MS);
    }

    /* A connection that broke without a word, as when a phone changes its network, answers no ping. */
    #look() {
        const socket = this.#socket;
        if (!this.#ready) {
            return;
        }
        if (this.#heard) {
            this.#heard = false;
            socket.send(JSON.stringify({type: "ping"}));
        } else {
            this.#lost();
            socket.close();
        }
    }
}

/* What the server recommends for connections; nothing, where it does not say so in time. */
export function iceServers() {
    return new Promise((resolve) => {
        const socket = open("/signaling");
        const finish = (servers) => {
            clearTimeout(timer);
            socket.onmessage = socket.onclose = null;
            socket.close();
            resolve(servers);
        };
        const timer = setTimeout(finish, ICE_SERVERS_MS, []);
        socket.onclose = () => finish([]);
        socket.onmessage = ({data}) => {
            const message = parse(data);
            if (message?.type === "welcome") {
                finish(Array.isArray(message.iceServers) ? message.iceServers : []);
            }
        };
    });
}
