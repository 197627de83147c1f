// Age in years or months becomes years; pregnancy is asked of women only.
export function person(root) {
  const form = root.querySelector("[data-person]");
  if (!form) return;
  const age = form.querySelector("[data-age]");
  const years = form.elements.namedItem("age_years");
  const pregnancy = [...form.querySelectorAll('[name="pregnant"]')];
  const look = () => {
    const months = form.elements.namedItem("age-in").value === "months";
    const value = Number(age.value);
    years.value = age.value === "" ? "" : String(months ? value / 12 : value);
    const man = form.elements.namedItem("sex").value === "male";
    for (const choice of pregnancy) {
      if (man) choice.checked = choice.value === "0";
      choice.disabled = man && choice.value !== "0";
    }
  };
  form.addEventListener("input", look);
  look();
}
