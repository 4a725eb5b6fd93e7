#include "report/explanation.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "report/snapshot.h"

namespace backhand {

namespace {

using Json = nlohmann::ordered_json;

// In a header field, and on a terminal that is to stay readable.
constexpr std::size_t places_shown_max = 16;

std::string printable(std::string_view text) {
    std::string result{text};
    std::replace_if(
        result.begin(), result.end(), [](char letter) { return letter < ' ' || letter > '~'; },
        '?');
    return result;
}

std::string score_text(double score) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.6g", score);
    return text.data();
}

std::string name_of(const Explanation& explanation, std::uint32_t slot_index) {
    const Explanation::Server* const server = explanation.server(slot_index);
    if (server == nullptr || server->name.empty()) {
        return "slot " + std::to_string(slot_index);
    }
    return printable(server->name) + (server->view.is_self() ? " (self)" : "");
}

std::string order_text(const Explanation& explanation,
                       const std::vector<Explanation::Place>& order) {
    if (order.empty()) {
        return "nobody";
    }
    std::string text;
    for (std::size_t index = 0; index < std::min(order.size(), places_shown_max); ++index) {
        const Explanation::Place& place = order[index];
        text += (index == 0 ? "" : ", ") + name_of(explanation, place.slot_index);
        if (place.score) {
            text += "=" + score_text(*place.score);
        }
    }
    if (order.size() > places_shown_max) {
        text += ", and " + std::to_string(order.size() - places_shown_max) + " more";
    }
    return text;
}

std::string server_line(const Explanation::Server& server) {
    const ServerView& view = server.view;
    std::string line = "    " + printable(server.name) + " " + view.load.contact.to_string();
    line += view.is_self() ? ": self" : ": " + std::string(to_string(server.exclusion));
    line += "; in progress " + std::to_string(view.serving);
    if (view.sent_since != 0) {
        line += " and " + std::to_string(view.sent_since) + " sent since";
    }
    line += ", idle workers " + std::to_string(view.workers_idle);
    line += ", load " + load_text(view.load.load_permille);
    line += ", CPU idle " + share_text(view.load.cpu_idle_permille);
    if (!view.is_self()) {
        line += ", news " + age_text(view.age) + " old";
    }
    return line + (view.unhealthy ? ", unhealthy" : "") + "\n";
}

}  // namespace

std::string explanation_text(const Explanation& explanation, const Remarks& remarks) {
    std::string text;
    for (const std::string& remark : remarks) {
        text += printable(remark) + "\n";
    }
    if (explanation.chain.empty()) {
        return text;
    }
    text += "Chain: " + printable(explanation.chain) + "\nServers:\n";
    for (const Explanation::Server& server : explanation.servers) {
        text += server_line(server);
    }
    if (!explanation.steps.empty()) {
        text += "Functions:\n";
    }
    for (const Explanation::Step& step : explanation.steps) {
        text += "    " + printable(step.text) + ": " + order_text(explanation, step.order);
        text += (step.remark.empty() ? "" : " (" + printable(step.remark) + ")") + "\n";
    }
    return text + printable(explanation.verdict) + "\n";
}

std::string explanation_json(const Explanation& explanation, const Remarks& remarks) {
    Json json = {
        {"remarks", remarks},         {"chain", explanation.chain},     {"servers", Json::array()},
        {"functions", Json::array()}, {"verdict", explanation.verdict},
    };
    for (const Explanation::Server& server : explanation.servers) {
        const ServerView& view = server.view;
        json["servers"].push_back({
            {"slot", view.slot_index},
            {"self", view.is_self()},
            {"name", server.name},
            {"contact", view.load.contact.to_string()},
            {"candidate", server.exclusion == Exclusion::none},
            {"why", view.is_self() ? "self" : to_string(server.exclusion)},
            {"serving", view.serving},
            {"sent_since", view.sent_since},
            {"workers_idle", view.workers_idle},
            {"age_ms", std::chrono::duration_cast<Milliseconds>(view.age).count()},
            {"unhealthy", view.unhealthy},
        });
    }
    for (const Explanation::Step& step : explanation.steps) {
        Json order = Json::array();
        for (const Explanation::Place& place : step.order) {
            Json entry = {{"slot", place.slot_index}};
            if (place.score) {
                entry["score"] = *place.score;
            }
            order.push_back(std::move(entry));
        }
        json["functions"].push_back(
            {{"text", step.text}, {"order", std::move(order)}, {"remark", step.remark}});
    }
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

std::string explanation_line(const Explanation& explanation, std::size_t bytes_max) {
    std::string line;
    for (const Explanation::Step& step : explanation.steps) {
        line += printable(step.text) + ": " + order_text(explanation, step.order) + "; ";
    }
    line += printable(explanation.verdict);
    if (line.size() > bytes_max) {
        line.resize(bytes_max - std::min<std::size_t>(bytes_max, 3));
        line += "...";
    }
    return line;
}

}  // namespace backhand
