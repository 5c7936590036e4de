// The expert study: several labelled texts routed by the loaded model, teacher-forced, and from that what each expert is for. Answers whether the experts of a
// model are specialists by subject or by kind of word, each against what chance gives.
//
//   GS_TRY(ExpertStudy study, study_experts(*decoder, request));
//   study.layers[12].word_class.adjusted_share();              // 0 by chance, 1 when the experts give the word class away
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/decode/decoder.h"
#include "engine/routing/importance.h"
#include "engine/routing/repetition.h"
#include "engine/routing/specialization.h"
#include "engine/routing/token_class.h"
#include "engine/routing/trace.h"
#include "engine/run/study_request.h"

namespace gs {

/// What a text became.
struct StudiedText {
    std::string domain;
    int begin = 0, end = 0;                  ///< its tokens in the trace
    int n_left_out = 0;                      ///< tokens beyond max_tokens
};

/// The T counted tokens of a study: all but control tokens.
struct StudyTokens {
    std::vector<int> rows;                   ///< [T] in the trace
    std::vector<int32_t> ids;                ///< [T]
    Labels domain, word_class, text;         ///< [T]
    std::vector<std::string> domains;        ///< names of the domain labels
    std::vector<uint32_t> domain_tokens, class_tokens;   ///< tokens of each label
    int n() const { return static_cast<int>(rows.size()); }
};

/// One MoE layer over the counted tokens.
struct LayerStudy {
    LayerRoutes routes;
    SlotOutputs outputs;
    LabelCounts by_domain, by_class;
    std::vector<double> domain_divergence;   ///< [domains, domains] bits
    Information domain, word_class;          ///< domain: null of blocks of 32 tokens; word class: of single tokens
    Information domain_given_class, class_given_domain;
    Repetition repetition;
    IdEffect id_effect;
    VocabularySpecialization vocabulary;     ///< ids with at least kMinOccurrences
    std::vector<ExpertImportance> importance;   ///< [E]
    std::vector<ImportanceNull> importance_null;   ///< [E]
    SingleExpertCosine top_cosine;
};

enum class Claim : uint8_t { kNeither, kDomain, kWordClass, kBoth };
const char* name_of(Claim claim);            ///< "neither", "domain", "word class", "both"

/// Which of the two articles' claims holds for this model on these texts. Shares: means over layers of Information::adjusted_share().
struct SpecializationVerdict {
    Claim claim = Claim::kNeither;           ///< which leads, if either goes beyond chance in most layers; kBoth: no clear lead
    int n_layers = 0, n_tokens = 0, n_domains = 0;
    int domain_beyond = 0, class_beyond = 0; ///< layers beyond the 95 % of chance
    std::vector<int> domain_leads, class_leads;   ///< layers (blk.N) in which its adjusted share is the larger
    double domain_share = 0, class_share = 0;
    double domain_given_class = 0, class_given_domain = 0;
    std::string text() const;                ///< sentences with these figures
};

struct ExpertStudy {
    TraceSnapshot trace;                     ///< all texts, one after another; no log-probabilities
    std::string model_hash;
    Policy policy;
    int window = 0, n_shuffles = 0;
    std::vector<StudiedText> texts;
    int n_texts_wanted = 0;
    StudyTokens tokens;
    std::vector<LayerStudy> layers;          ///< [M]
    SpecializationVerdict verdict;
    bool complete = false;                   ///< all texts are in it

    int n_layers() const { return static_cast<int>(layers.size()); }
    int n_experts() const { return trace.n_experts(); }
};

inline constexpr int kDomainBlock = 32;      ///< tokens that change places together in the null of domains
inline constexpr uint32_t kMinOccurrences = 5;   ///< of a token id, for figures of single ids

/// Called from the working thread: study is null but for the first call after a text is through.
using StudyProgress = std::function<void(const std::shared_ptr<const ExpertStudy>& study, double fraction, const std::string& what)>;

/// Routes every text from an empty cache, in windows of `window` tokens, and analyses what there is after each. Overwrites the decoder's cache, policy, sink
/// and expert function. Errors: kInput "text_too_short" with the domain, kUsage "no_texts", "dense_model", "bad_policy", kCancelled, those of Decoder.
Result<std::shared_ptr<const ExpertStudy>> study_experts(Decoder& decoder, const StudyRequest& request, const StudyProgress& progress = {},
                                                         const CancelFlag* cancel = nullptr);

/// Labels of all tokens of a trace whose texts are known; of a run on screen: one text.
StudyTokens study_tokens(const TraceSnapshot& trace, std::span<const StudiedText> texts);
/// Everything of one layer but its outputs, which may be empty. Shared shuffles: see StudyShuffles.
struct StudyShuffles {
    ShuffledLabels domain, word_class, class_within_domain;
    int n = 0;
    StudyShuffles(const StudyTokens& tokens, int n_shuffles);
};
LayerStudy analyse_layer(LayerRoutes routes, SlotOutputs outputs, const StudyTokens& tokens, const StudyShuffles& shuffles);
/// blk: [M] numbers of the layers in the model.
SpecializationVerdict judge(std::span<const LayerStudy> layers, std::span<const int> blk, const StudyTokens& tokens);

}  // namespace gs
