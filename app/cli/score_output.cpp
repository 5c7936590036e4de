// Scored policies as JSON rows and as a table.
#include <fmt/format.h>

#include "app/cli/common.h"

namespace app {

Json score_json(const gs::PolicyScore& score, const gs::ModelSpec& spec) {
    return {{"policy", score.policy.to_text()},
            {"k", score.policy.k > 0 ? score.policy.k : spec.router.n_used},
            {"perplexity", score.perplexity},
            {"kl", score.kl},
            {"top1_agreement", score.top1_agreement},
            {"route_agreement", to_json(score.route_agreement)},
            {"mean_sum_weights", score.mean_sum_weights},
            {"tokens_per_s", score.tokens_per_s},
            {"bytes_per_token", score.bytes_per_token},
            {"tokens_scored", score.n_scored}};
}

void print_score_header() {
    fmt::print("{:<28}{:>11}{:>10}{:>9}{:>9}{:>9}{:>10}{:>12}\n", "policy", "perplexity", "KL nats", "top-1", "routes", "sum w", "tokens/s", "MB/token");
}

void print_score(const gs::PolicyScore& score) {
    double routes = 0;
    for (double r : score.route_agreement) routes += r / static_cast<double>(score.route_agreement.size());
    fmt::print("{:<28}{:>11.3f}{:>10.4f}{:>8.1f}%{:>8.1f}%{:>9.3f}{:>10.1f}{:>12.2f}\n", score.policy.to_text(), score.perplexity, score.kl,
               100 * score.top1_agreement, 100 * routes, score.mean_sum_weights, score.tokens_per_s, score.bytes_per_token / 1e6);
}

}  // namespace app
