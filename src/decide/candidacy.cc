#include "decide/candidacy.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

namespace backhand {

namespace {

// One "name=value" of a Cookie field (RFC 6265 section 4.2.1), whose beginning is at `rest`, which
// moves on to the next.
std::string_view next_cookie(std::string_view& rest) {
    const std::size_t end = std::min(rest.find(';'), rest.size());
    std::string_view cookie = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const std::size_t begin = cookie.find_first_not_of(" \t");
    if (begin == std::string_view::npos) {
        return {};
    }
    return cookie.substr(begin, cookie.find_last_not_of(" \t") + 1 - begin);
}

std::optional<std::string_view> cookie_in(std::string_view field, std::string_view name) {
    while (!field.empty()) {
        const std::string_view cookie = next_cookie(field);
        if (cookie.size() <= name.size() || !cookie.starts_with(name) ||
            cookie[name.size()] != '=') {
            continue;
        }
        std::string_view value = cookie.substr(name.size() + 1);
        if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
            value = value.substr(1, value.size() - 2);
        }
        return value;
    }
    return std::nullopt;
}

}  // namespace

std::string_view RequestView::query() const {
    const std::size_t mark = path.find('?');
    return mark == std::string_view::npos ? std::string_view{} : path.substr(mark + 1);
}

std::optional<std::string_view> RequestView::header(const char* name) const {
    return facts == nullptr ? std::nullopt : facts->header(name, 0);
}

std::optional<std::string_view> RequestView::environment(const char* name) const {
    return facts == nullptr ? std::nullopt : facts->environment(name);
}

std::optional<Nanoseconds> RequestView::location_time() const {
    return facts == nullptr ? std::nullopt : facts->location_time();
}

std::optional<std::string_view> RequestView::cookie(std::string_view name) const {
    if (facts == nullptr) {
        return std::nullopt;
    }
    for (std::size_t nth = 0; const auto field = facts->header("Cookie", nth); ++nth) {
        if (const auto value = cookie_in(*field, name)) {
            return value;
        }
    }
    return std::nullopt;
}

void CandidacySet::begin(const ServerView& self) {
    servers_count_ = 0;
    scores_.clear();
    order_.clear();
    settled_ = false;
    head_only_ = false;
    redirect_ = nullptr;
    add(self);
}

void CandidacySet::add(const ServerView& server) {
    order_.push_back(static_cast<std::uint32_t>(servers_count_));
    make_room(1);
    servers_[servers_count_++] = server;
}

void CandidacySet::make_all_members() {
    const std::size_t known = all_.size();
    if (known < servers_count_) {
        all_.resize(servers_count_);
        std::iota(all_.begin() + static_cast<std::ptrdiff_t>(known), all_.end(),
                  static_cast<std::uint32_t>(known));
    }
    order_.assign(all_.begin(), all_.begin() + static_cast<std::ptrdiff_t>(servers_count_));
}

void CandidacySet::make_room(std::size_t servers_count) {
    if (servers_.size() < servers_count_ + servers_count) {
        servers_.resize(servers_count_ + servers_count);
    }
}

std::optional<double> CandidacySet::score(std::size_t position) const {
    const std::uint32_t index = order_[position];
    const double score = index < scores_.size() ? scores_[index] : no_score;
    return std::isnan(score) ? std::nullopt : std::optional{score};
}

void CandidacySet::begin_without(const ServerView& self) {
    begin(self);
    order_.clear();
}

void CandidacySet::remove_self() {
    if (const auto found = std::find(order_.begin(), order_.end(), 0U); found != order_.end()) {
        order_.erase(found);
    }
}

bool CandidacySet::has_slot(std::uint32_t slot_index) const {
    return std::any_of(order_.begin(), order_.end(), [&](std::uint32_t index) {
        return servers_[index].slot_index == slot_index;
    });
}

void CandidacySet::truncate(std::size_t count) {
    order_.resize(std::min(count, order_.size()));
}

void CandidacySet::shuffle(Random& random) {
    shuffle_first(head_only_ ? head_size : order_.size(), random);
}

void CandidacySet::draw(std::size_t count, Random& random) {
    shuffle_first(count, random);
    truncate(count);
}

// From the head on, so that it can stop when enough places are drawn.
void CandidacySet::shuffle_first(std::size_t count, Random& random) {
    for (std::size_t place = 0; place < std::min(count, order_.size()); ++place) {
        const auto left = static_cast<std::uint32_t>(order_.size() - place);
        std::swap(order_[place], order_[place + random.below(left)]);
    }
}

void CandidacySet::put_first(std::size_t position) {
    const auto member = order_.begin() + static_cast<std::ptrdiff_t>(position);
    std::rotate(order_.begin(), member, member + 1);
}

void CandidacySet::settle() {
    truncate(1);
    settled_ = true;
}

void CandidacySet::put_self_first() {
    if (settled_) {
        return;
    }
    const auto found = std::find(order_.begin(), order_.end(), 0U);
    if (found == order_.end()) {
        order_.insert(order_.begin(), 0U);
    } else {
        std::rotate(order_.begin(), found, found + 1);
    }
}

// Of a settled set only the head may be among them.
void CandidacySet::assign(std::span<const std::uint32_t> indices) {
    if (settled_) {
        keep_if([&](const ServerView& server) {
            const auto index = static_cast<std::uint32_t>(&server - servers_.data());
            return std::find(indices.begin(), indices.end(), index) != indices.end();
        });
        return;
    }
    order_.assign(indices.begin(), indices.end());
}

void CandidacySet::Best::insert(double score, std::uint32_t position) {
    const Member inserted{comparable(score), position};
    std::size_t place = count_ < head_size ? count_++ : head_size - 1;
    for (; place > 0 && inserted.score < members_[place - 1].score; --place) {
        members_[place] = members_[place - 1];
    }
    members_[place] = inserted;
}

void CandidacySet::Best::move_first(std::span<std::uint32_t> order) {
    for (std::uint32_t place = 0; place < count_; ++place) {
        const std::uint32_t from = members_[place].position;
        std::swap(order[place], order[from]);
        // Who was in this place is found where the other one came from.
        for (Member& member : std::span{members_}.first(count_).subspan(place)) {
            if (member.position == place) {
                member.position = from;
            }
        }
    }
}

void CandidacySet::order_few_by(const std::array<double, few_max>& scores) {
    const auto count = static_cast<std::uint32_t>(order_.size());
    std::array<std::uint32_t, few_max> places{};  // how many come before each
    for (std::uint32_t later = 1; later < count; ++later) {
        for (std::uint32_t earlier = 0; earlier < later; ++earlier) {
            const std::uint32_t overtakes = scores[later] < scores[earlier] ? 1 : 0;
            places[earlier] += overtakes;
            places[later] += 1 - overtakes;
        }
    }
    std::array<std::uint32_t, few_max> before{};
    std::copy(order_.begin(), order_.end(), before.begin());
    for (std::uint32_t position = 0; position < count; ++position) {
        order_[places[position]] = before[position];
    }
}

// Not std::stable_sort, which allocates: the position breaks ties instead.
void CandidacySet::sort_by_ranking(double margin) {
    const auto comes_first = [](const Ranked& left, const Ranked& right) {
        return left.score != right.score ? left.score < right.score
                                         : left.position < right.position;
    };
    std::sort(ranking_.begin(), ranking_.end(), comes_first);
    for (auto group = ranking_.begin(); margin > 0 && group != ranking_.end();) {
        const double group_end = group->score + margin;
        const auto next = std::find_if(group, ranking_.end(), [group_end](const Ranked& ranked) {
            return ranked.score > group_end;
        });
        std::sort(group, next, [](const Ranked& left, const Ranked& right) {
            return left.position < right.position;
        });
        group = next;
    }
    for (std::size_t position = 0; position < order_.size(); ++position) {
        order_[position] = ranking_[position].index;
    }
    scores_.resize(servers_count_, no_score);
    for (const Ranked& ranked : ranking_) {
        scores_[ranked.index] = ranked.score;
    }
}

}  // namespace backhand
