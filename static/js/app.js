// What makes the pages nicer where JavaScript runs. Without it everything works.
"use strict";

// The person's time zone, so that the server can show times in it.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) {
  document.cookie = `time_zone=${zone}; path=/; max-age=31536000; samesite=lax`;
}

function say(text) {
  document.getElementById("spoken").textContent = text;
}

// Listening on the document, so that what htmx brings in later works, too.
document.addEventListener("click", (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    copyFrom(copy);
  }
  const choice = event.target.closest("[data-theme-choice]");
  if (choice) {
    chooseTheme(choice.dataset.themeChoice);
  }
  const reveal = event.target.closest(".reveal-button");
  if (reveal) {
    toggleReveal(reveal);
  }
});

async function copyFrom(button) {
  const code = button.closest(".copyable, .code").querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    // No clipboard (plain http, or refused): select it, so that one key copies.
    getSelection().selectAllChildren(code);
    say("Selected. Copy it with your keyboard.");
    return;
  }
  say("Copied");
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1500);
}

// The theme: "system" is the absence of a choice.
function chooseTheme(theme) {
  if (theme === "system") {
    delete document.documentElement.dataset.theme;
  } else {
    document.documentElement.dataset.theme = theme;
  }
  try {
    theme === "system" ? localStorage.removeItem("theme") : localStorage.setItem("theme", theme);
  } catch {
    // It holds for this page.
  }
  showTheme();
}

function showTheme() {
  const chosen = document.documentElement.dataset.theme ?? "system";
  for (const choice of document.querySelectorAll("[data-theme-choice]")) {
    choice.setAttribute("aria-pressed", String(choice.dataset.themeChoice === chosen));
  }
}
showTheme();

// A password can be looked at before it is sent.
for (const input of document.querySelectorAll('.field input[type="password"]')) {
  const label = input.labels?.[0]?.firstChild?.textContent?.trim() ?? "password";
  const wrapper = document.createElement("span");
  wrapper.className = "reveal";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "reveal-button";
  const what = document.createElement("span");
  what.className = "visually-hidden";
  what.textContent = ` ${label}`;
  button.append("Show", what);
  input.replaceWith(wrapper);
  wrapper.append(input, button);
}

function toggleReveal(button) {
  const input = button.previousElementSibling;
  const shown = input.type === "password";
  input.type = shown ? "text" : "password";
  button.firstChild.textContent = shown ? "Hide" : "Show";
}

// Browsers before command/commandfor: open and close dialogs for them.
if (!("commandForElement" in HTMLButtonElement.prototype)) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[commandfor]");
    const dialog = button && document.getElementById(button.getAttribute("commandfor"));
    if (dialog) {
      button.getAttribute("command") === "close" ? dialog.close() : dialog.showModal();
    }
  });
}
