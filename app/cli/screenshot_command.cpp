// gatescope screenshot: the window, or one panel of it, as a PNG. Needs no display.
#include <fmt/format.h>

#include "app/base/texts.h"
#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "app/cli/window_command.h"
#ifdef GATESCOPE_HAVE_WINDOW
#include "app/shell/app.h"
#endif

namespace app {

#ifdef GATESCOPE_HAVE_WINDOW

struct ScreenshotArguments {
    ScreenshotOptions options;
    std::string size = "1600x900";
    EngineChoice engine;
    int layer = -1, n_threads = 0;
    bool exact = false, no_interop = false;
};

static int screenshot(const ScreenshotArguments& a) {
    ScreenshotOptions options = a.options;
    if (!parse_size(a.size, options.width, options.height))
        return fail({gs::ErrorKind::kUsage, "bad_size", "--size " + a.size, "not WIDTHxHEIGHT with 320 to 16384 pixels each", "For example --size 1600x900"});
    options.engine = engine_request(a.engine, {.n_threads = a.n_threads, .precision = a.exact ? gs::Precision::kExact : gs::Precision::kFast});
    options.pick.moe_layer = a.layer;
    options.interop = !a.no_interop;
    const auto routing = render_screenshot(options);
    if (!routing) return fail(routing.error());
    if (!routing->empty()) fmt::print(stderr, "gatescope: routing for the heatmap: {}\n", *routing);
    fmt::print(stderr, "gatescope: wrote {}\n", options.out.string());
    return 0;
}

void add_screenshot_command(CLI::App& root, CommandBody& chosen) {
    auto a = std::make_shared<ScreenshotArguments>();
    ScreenshotOptions& o = a->options;
    CLI::App* command = root.add_subcommand("screenshot", "Draw the window, or one panel, into a PNG; needs no display");
    command->footer("Example: gatescope screenshot --out run.png --view heatmap --size 1600x900 --theme light");
    command->add_option("-o,--out", o.out, "PNG to write")->required();
    command->add_option("--size", a->size, "size in pixels")->capture_default_str();
    command->add_option("--scale", o.scale, "size of everything")->check(CLI::Range(0.75, 3.0))->capture_default_str();
    command->add_option("--theme", o.theme, "dark, light or contrast")->check(CLI::IsMember({"dark", "light", "contrast"}))->capture_default_str();
    command->add_option("--layout", o.layout, "explore, teach or tune")->check(CLI::IsMember({"explore", "teach", "tune"}));
    command->add_option("--view", o.view, "one panel: " + view_names() + "; default: the whole window");
    auto* trace = command->add_option("--trace", o.trace, "recorded run to show; default: the bundled one");
    command->add_option("--pin", o.pin, "recorded run that is pinned as A, to compare what is on screen with");
    command->add_option("-p,--prompt", o.prompt, "run this first")->excludes(trace);
    command->add_option("-n,--tokens", o.max_new_tokens, "most tokens to generate")->check(CLI::Range(0, 1 << 20))->capture_default_str();
    command->add_option("-m,--model", o.model, "GGUF file; default: the bundled model");
    command->add_option("--policy", o.policy, "routing policy of the run")->capture_default_str();
    command->add_option("--state", o.state, "a state line, as the window copies it");
    command->add_option("--what-if", o.what_if, "show this policy as a what-if on the run");
    command->add_option("--compare", o.compare_policy, "run again under this policy and compare");
    command->add_option("--ablate", o.ablate, "measure the run without these experts (zero), e.g. 12:3,12:5");
    command->add_option("--beside", o.beside, "run this model file beside the loaded one");
    auto* map = command->add_option("--map", o.map_domain, "measure the sensitivity map of this bundled sample: " + fmt::format("{}", fmt::join(bundled_text_names(), ", ")));
    command->add_option("--sweep", o.sweep_domain, "sweep k on this bundled sample");
    command->add_option("--map-tokens", o.map_tokens, "tokens of the sample")->check(CLI::Range(2, 1 << 20))->capture_default_str();
    command->add_option("--budget", o.budget, "and check a schedule for this budget, e.g. kl=0.05")->needs(map);
    command->add_flag("--study", o.study, "study the experts on the bundled samples first, for the views experts, expert and coactivation");
    command->add_option("--token", o.pick.token, "selected token; default: the last");
    command->add_option("--layer", a->layer, "selected MoE layer, counted from 0; default: the middle one");
    command->add_option("--expert", o.pick.expert, "selected expert");
    command->add_option("--threads", a->n_threads, "engine threads; 0 = all cores")->check(CLI::Range(0, 1024));
    add_engine_choice(*command, a->engine);
    command->add_flag("--exact", a->exact, "f32 activations instead of 16-bit ones");
    command->add_flag("--no-interop", a->no_interop, "routing always reaches the window through the host's memory, also where it could be drawn from the GPU engine's");
    command->add_flag("--validate", o.validate, "Vulkan validation layer on");
    command->callback([a, &chosen] { chosen = [a] { return screenshot(*a); }; });
}

#else

void add_screenshot_command(CLI::App& root, CommandBody& chosen) {
    root.add_subcommand("screenshot", "(this build has no window)")->allow_extras()->callback([&chosen] { chosen = [] { return open_window({}); }; });
}

#endif

}  // namespace app
