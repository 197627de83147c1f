// The search runs in a worker, which browsers refuse to a page opened from a folder. There the
// worker's script runs in a hidden frame of this page instead: nothing is fetched from elsewhere.
if (location.protocol === "file:") {
  window.Worker = window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      const script = document.createElement("script");
      script.src = url;
      this.frame.srcdoc = script.outerHTML;
      this.inner = new Promise((ready) => {
        this.frame.addEventListener("load", () => {
          const inner = this.frame.contentWindow;
          inner.postMessage = (data) =>
            this.dispatchEvent(new MessageEvent("message", { data }));
          ready(inner);
        });
      });
      document.body.append(this.frame);
    }

    postMessage(data) {
      this.inner.then((inner) =>
        inner.dispatchEvent(new inner.MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
