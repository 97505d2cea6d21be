// SPDX-License-Identifier: MIT
// The live numbers: each element with data-stats or data-pool shows that field of /stats or /workers.

const PERIOD_MS = 2000;
const MEMBERS_SHOWN = 200;

async function ask(path) {
    try {
        const answer = await fetch(path, {cache: "no-store", signal: AbortSignal.timeout(5000)});
        return {status: answer.status, body: answer.ok ? await answer.json() : null};
    } catch {
        return {status: 0, body: null};
    }
}

function shown(value) {
    return value === undefined || value === null ? "–" : value.toLocaleString();
}

function fill(name, answer) {
    for (const element of document.querySelectorAll(`[data-${name}]`)) {
        const value = element.dataset[name].split(".").reduce((object, field) => object?.[field], answer);
        element.textContent = shown(value);
    }
}

function age(ms) {
    return Number.isFinite(ms) ? `${Math.max(0, Math.round(ms / 1000))} s ago` : "–";
}

function fillMembers(answer) {
    const table = document.getElementById("members");
    const rows = (answer?.workers ?? []).slice(0, MEMBERS_SHOWN).map((member) => {
        const row = document.createElement("tr");
        for (const text of [shown(member.id), shown(member.region), shown(member.load), shown(member.capacity),
            shown(member.status), age(answer.timestamp - member.lastSeen)]) {
            row.insertCell().textContent = text;
        }
        return row;
    });
    table.tBodies[0].replaceChildren(...rows);
    table.hidden = rows.length === 0;
}

function troubleOf(stats) {
    if (stats.body) {
        return "";
    }
    return stats.status === 403
        ? "This server shows its numbers to some addresses only (STATUS_ALLOW), and yours is none of them."
        : "The server gives no numbers just now.";
}

async function refresh() {
    const [stats, pool] = await Promise.all([ask("/stats"), ask("/workers")]);
    fill("stats", stats.body);
    fill("pool", pool.body);
    fillMembers(pool.body);
    const trouble = troubleOf(stats);
    const element = document.getElementById("trouble");
    if (element.textContent !== trouble) {
        element.textContent = trouble;
    }
}

// One round after the other; a tab that nobody sees asks nothing.
async function run() {
    while (true) {
        if (document.hidden) {
            await new Promise((seen) => document.addEventListener("visibilitychange", seen, {once: true}));
        } else {
            await refresh();
            await new Promise((over) => setTimeout(over, PERIOD_MS));
        }
    }
}

run();
