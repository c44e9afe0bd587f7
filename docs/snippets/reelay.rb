# gem install jwt standardwebhooks
require "jwt"
require "net/http"
require "standardwebhooks"

def token(user_id, audience)
  now = Time.now.to_i
  claims = { sub: user_id, aud: audience, iat: now, exp: now + 300 }
  JWT.encode(claims, ENV.fetch("REELAY_APP_SECRET"), "HS256")
end

def call(user_id, request)
  request["authorization"] = "Bearer #{token(user_id, "reelay:api")}"
  response = Net::HTTP.start(request.uri.host, request.uri.port, use_ssl: request.uri.scheme == "https") { _1.request(request) }
  response.is_a?(Net::HTTPSuccess) ? JSON.parse(response.body || "null") : raise("#{response.code} #{response.body}")
end

def api(path) = URI(ENV.fetch("REELAY_API_URL") + path)

# The target of the button "Connect Zoom".
def connect_url(user_id) = "#{ENV.fetch("REELAY_CONNECT_URL")}?token=#{token(user_id, "reelay:connect")}"

# user_id: the user in whose session `zoom_link` arrived.
def confirm(user_id, claim) = call(user_id, Net::HTTP::Post.new(api("/links/confirm")).tap { _1.body = { claim: }.to_json })

def recordings(user_id) = call(user_id, Net::HTTP::Get.new(api("/recordings?limit=100")))

# body: the text as it arrived. Raises a WebhookVerificationError.
def verify(headers, body) = StandardWebhooks::Webhook.new(ENV.fetch("REELAY_NOTIFICATION_SECRET")).verify(body, headers)
