// SPDX-License-Identifier: MIT
// Two people connect by code and chat over a data channel. What comes from the other is shown as text and nothing else.
import {CODE, Signaling, iceServers} from "./signaling.js";

// The server says it when a request has run out; this is for the case that it does not.
const ASK_MS = 150000;
const CONNECT_MS = 30000;
const MESSAGES_KEPT = 500;
const MESSAGE_MAX = 4000;
const NOT_FOUND = "Peer not found: ";
const NO_REQUEST = "No pending request from this peer";
const ERRORS = {
    "Too many pair requests. Please slow down.": "You have asked too often. Wait a minute, then try again.",
    "Rate limit exceeded": "That was too much at once. Wait a moment, then try again.",
    "Service temporarily unavailable": "The server has trouble just now. Try again in a moment.",
};

const $ = (id) => document.getElementById(id);

/* The one other there is: {peer, phase: "asking" | "asked" | "connecting" | "open", accepting, timer, steps, pc,
   channel}. accepting: we have accepted, and the server has not yet said that the two of us match. */
let call = null;

// --- what is seen ---

function say(words) {
    $("state").textContent = words;
}

function look() {
    const phase = call?.phase;
    $("asked").hidden = phase !== "asked";
    $("asker").textContent = phase === "asked" ? call.peer : "";
    $("connect").disabled = !signaling.ready;
    $("connect").hidden = Boolean(call);
    $("code").disabled = Boolean(call);
    $("leave").hidden = !call || phase === "asked";
    $("leave").textContent = phase === "asking" ? "Cancel" : "Leave";
    $("send").disabled = phase !== "open";
}

function show(who, text, mine) {
    const line = document.createElement("p");
    const name = document.createElement("span");
    line.className = mine ? "mine" : "theirs";
    name.className = "who";
    name.textContent = `${who}:`;
    line.append(name, ` ${text}`);
    $("messages").append(line);
    while ($("messages").childElementCount > MESSAGES_KEPT) {
        $("messages").firstElementChild.remove();
    }
    $("messages").scrollTop = $("messages").scrollHeight;
}

// --- the call ---

function begin(peer, phase, limit, words) {
    call = {peer, phase};
    enter(phase, limit, words);
}

/* A phase that takes longer than its limit ends the call with these words. */
function enter(phase, limit, words) {
    const mine = call;
    mine.phase = phase;
    clearTimeout(mine.timer);
    if (limit) {
        mine.timer = setTimeout(() => call === mine && leave(words), limit);
    }
    look();
}

function end(words) {
    const {timer, pc} = call;
    call = null;
    clearTimeout(timer);
    pc?.close();
    say(words);
    look();
}

/* There is no message to take a request back, or to end what has not begun: a candidate that is none says so. For the
   server, a request that was taken back stays open until its time is over. */
function sayGoodbye(peer) {
    signaling.send({type: "ice_candidate", target: peer, payload: {bye: true}});
}

function leave(words) {
    sayGoodbye(call.peer);
    end(words);
}

function ask(peer) {
    if (signaling.send({type: "pair_request", targetCode: peer})) {
        begin(peer, "asking", ASK_MS, `${peer} did not answer.`);
        say(`Asking ${peer}…`);
    }
}

function respond(peer, accepted) {
    return signaling.send({type: "pair_response", targetCode: peer, accepted});
}

function answer(accepted) {
    const {peer} = call;
    if (!respond(peer, accepted)) {
        end("The connection to the server was lost meanwhile.");
    } else if (accepted) {
        call.accepting = true;
        connect();
    } else {
        end(`You have declined ${peer}.`);
    }
}

function connect() {
    enter("connecting", CONNECT_MS, `No connection with ${call.peer} came about. Perhaps a network does not allow it.`);
    say(`Connecting with ${call.peer}…`);
    call.steps = prepare(call);
}

async function prepare(mine) {
    const configuration = {iceServers: await iceServers()};
    if (call !== mine) {
        return;
    }
    try {
        mine.pc = new RTCPeerConnection(configuration);
    } catch {
        mine.pc = new RTCPeerConnection();
    }
    mine.pc.onicecandidate = ({candidate}) => {
        if (candidate?.candidate) {
            signaling.send({type: "ice_candidate", target: mine.peer, payload: candidate});
        }
    };
    mine.pc.ondatachannel = ({channel}) => use(mine, channel);
    mine.pc.onconnectionstatechange = () => call === mine && watch(mine);
}

function watch(mine) {
    const state = mine.pc.connectionState;
    if (state === "failed") {
        leave(`The connection with ${mine.peer} was lost.`);
    } else if (state === "disconnected") {
        say(`The connection with ${mine.peer} is interrupted…`);
    } else if (state === "connected" && mine.phase === "open") {
        say(`Connected with ${mine.peer}.`);
    }
}

function use(mine, channel) {
    mine.channel = channel;
    channel.onopen = () => {
        if (call === mine) {
            enter("open");
            say(`Connected with ${mine.peer}.`);
            $("messages").replaceChildren();
            $("chat").hidden = false;
            $("text").focus();
        }
    };
    channel.onmessage = ({data}) => {
        if (call === mine && typeof data === "string") {
            show(mine.peer, data.slice(0, MESSAGE_MAX), false);
        }
    };
    channel.onclose = () => call === mine && end(`${mine.peer} has left.`);
}

// --- messages of the server ---

/* Offers, answers and candidates count only between the two who agreed to connect. One step is taken after the other;
   what is under way when the connection is closed never ends, so that each call has steps of its own. */
function negotiate(from, step) {
    const mine = call;
    if (mine?.peer !== from || (mine.phase !== "connecting" && mine.phase !== "open")) {
        return;
    }
    mine.steps = mine.steps.then(() => call === mine && step(mine)).catch(() => {
        if (call === mine) {
            leave(`The connection with ${from} failed.`);
        }
    });
}

const handlers = {
    pair_incoming({fromCode: from, expiresIn}) {
        if (call?.peer === from && call.phase === "asking") {
            // Each has asked the other: one of them has to be the one who answers.
            if (signaling.code < from) {
                answer(true);
            }
        } else if (call && call.peer !== from) {
            respond(from, false);
        } else {
            if (call) {
                end("");
            }
            begin(from, "asked", expiresIn, `The request of ${from} has run out.`);
            say("");
        }
    },

    // The one who asked makes the offer. The other connects already as it accepts: the offer may come before this.
    pair_matched({peerCode, isInitiator}) {
        const mine = call?.peer === peerCode ? call : null;
        if (!isInitiator) {
            if (mine) {
                mine.accepting = false;
            }
        } else if (mine?.phase !== "asking") {
            sayGoodbye(peerCode);
        } else {
            connect();
            negotiate(peerCode, async ({pc}) => {
                use(mine, pc.createDataChannel("chat"));
                await pc.setLocalDescription();
                signaling.send({type: "offer", target: peerCode, payload: pc.localDescription});
            });
        }
    },

    pair_rejected({peerCode}) {
        if (call?.peer === peerCode && call.phase === "asking") {
            end(`${peerCode} has declined.`);
        }
    },

    pair_expiring({peerCode, remainingSeconds}) {
        if (call?.peer === peerCode && call.phase === "asking") {
            say(`${peerCode} has ${remainingSeconds} seconds left to answer.`);
        } else if (call?.peer === peerCode && call.phase === "asked") {
            say(`The request of ${peerCode} runs out in ${remainingSeconds} seconds.`);
        }
    },

    pair_timeout({peerCode}) {
        if (call?.peer === peerCode && call.phase === "asking") {
            end(`${peerCode} did not answer.`);
        }
    },

    // It names no code. That a request is not open any more matters where it was accepted, not where it was declined.
    pair_error({error}) {
        if (error === NO_REQUEST) {
            if (call?.phase === "connecting" && call.accepting) {
                end(`${call.peer} has left.`);
            }
        } else if (call?.phase === "asking") {
            end(`Nobody has the code ${call.peer} just now, or too many are asking for it.`);
        }
    },

    offer({from, payload}) {
        negotiate(from, async ({pc}) => {
            await pc.setRemoteDescription(payload);
            await pc.setLocalDescription();
            signaling.send({type: "answer", target: from, payload: pc.localDescription});
        });
    },

    answer({from, payload}) {
        negotiate(from, ({pc}) => pc.setRemoteDescription(payload));
    },

    ice_candidate({from, payload}) {
        if (payload?.bye) {
            // Where we ask, it is of the call before: its channel may end sooner than the goodbye comes.
            if (call?.peer === from && call.phase !== "asking") {
                end(`${from} has left.`);
            }
        } else {
            negotiate(from, ({pc}) => pc.addIceCandidate(payload));
        }
    },

    error({message}) {
        if (message.startsWith(NOT_FOUND)) {
            // Of no interest where it is about a goodbye. A channel that is open needs the server no more.
            if (call?.phase === "connecting" && message === NOT_FOUND + call.peer) {
                end(`${call.peer} has left.`);
            }
            return;
        }
        const words = ERRORS[message] ?? `The server says: ${message}`;
        if (call?.phase === "asking") {
            end(words);
        } else {
            say(words);
        }
    },
};

const signaling = new Signaling({
    ready(code) {
        $("own").textContent = code;
        $("invite").href = `/static/chat.html#${code}`;
        $("server").textContent = "Connected to the server.";
        look();
    },
    lost() {
        $("server").textContent = "The connection to the server is lost; trying again…";
        if (call?.phase === "asking" || call?.phase === "asked") {
            end("The connection to the server was lost meanwhile. Try again when it is back.");
        }
        look();
    },
    ended() {
        $("server").textContent = "The server has closed the connection. Load the page again to try once more.";
        look();
    },
    message(message) {
        if (Object.hasOwn(handlers, message.type)) {
            handlers[message.type](message);
        }
    },
});

// --- what is typed and clicked ---

$("ask").onsubmit = (event) => {
    const code = $("code").value.toUpperCase().replace(/[^A-Z0-9]/g, "");
    event.preventDefault();
    $("code").value = code;
    if (call || !signaling.ready) {
        return;
    }
    if (!CODE.test(code)) {
        say("A code has six letters or digits, and none of I, O, 0 and 1.");
    } else if (code === signaling.code) {
        say("This is your own code. Type that of the other.");
    } else {
        ask(code);
    }
};

$("say").onsubmit = (event) => {
    const text = $("text").value.trim();
    event.preventDefault();
    if (!text || call?.phase !== "open") {
        return;
    }
    try {
        call.channel.send(text);
    } catch {
        say("This message could not be sent. Try again.");
        return;
    }
    show("You", text, true);
    $("text").value = "";
    $("text").focus();
};

$("accept").onclick = () => call?.phase === "asked" && answer(true);
$("decline").onclick = () => call?.phase === "asked" && answer(false);
$("leave").onclick = () => {
    if (call) {
        leave(call.phase === "asking" ? "You have taken your request back." : "You have left.");
    }
};

function prefill() {
    const code = location.hash.slice(1).toUpperCase();
    if (CODE.test(code) && !call) {
        $("code").value = code;
    }
}

addEventListener("hashchange", prefill);
// A page that the browser keeps in its memory would hold its code, and hear nothing: where it comes back, it begins anew.
addEventListener("pagehide", () => {
    if (call?.phase === "asked") {
        answer(false);
    } else if (call) {
        leave("");
    }
    signaling.close();
});
addEventListener("pageshow", ({persisted}) => persisted && location.reload());
prefill();
