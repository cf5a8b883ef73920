// Search without a server. A page that is opened from the disk may start no worker, and the search
// is one: a hidden frame, which may run the same script, stands in for it. Served pages keep the
// browser's own workers.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    onmessage = null;
    onmessageerror = null;
    onerror = null;
    #waiting = [];
    #frame = document.createElement("iframe");

    constructor(address) {
      super();
      this.#frame.hidden = true;
      document.body.append(this.#frame);
      const inside = this.#frame.contentWindow;
      inside.postMessage = (data) => this.#tell("message", new MessageEvent("message", { data }));
      const script = inside.document.createElement("script");
      script.src = address;
      script.onerror = () => this.#tell("error", new Event("error"));
      script.onload = () => {
        const waiting = this.#waiting;
        this.#waiting = null;
        waiting.forEach((data) => this.postMessage(data));
      };
      inside.document.body.append(script);
    }

    // As with a worker, the answer comes later, and what comes after terminate() goes nowhere.
    postMessage(data) {
      if (this.#waiting) {
        this.#waiting.push(data);
        return;
      }
      const message = new MessageEvent("message", { data: structuredClone(data) });
      setTimeout(() => this.#frame.contentWindow?.dispatchEvent(message));
    }

    terminate() {
      this.#frame.remove();
    }

    #tell(name, event) {
      this.dispatchEvent(event);
      this[`on${name}`]?.(event);
    }
  };
}
