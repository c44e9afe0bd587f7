<?php // composer require firebase/php-jwt standard-webhooks/standard-webhooks
use Firebase\JWT\JWT;
use StandardWebhooks\Webhook;

function token(string $userId, string $audience): string {
    $claims = ['sub' => $userId, 'aud' => $audience, 'iat' => time(), 'exp' => time() + 300];
    return JWT::encode($claims, getenv('REELAY_APP_SECRET'), 'HS256');
}

function call(string $userId, string $method, string $path, ?array $body = null): ?array { // null: DELETE has no content
    $headers = ['Authorization: Bearer ' . token($userId, 'reelay:api'), 'Content-Type: application/json'];
    $http = ['method' => $method, 'header' => $headers, 'content' => $body ? json_encode($body) : '', 'timeout' => 30];
    $text = file_get_contents(getenv('REELAY_API_URL') . $path, false, stream_context_create(['http' => $http]));
    return $text === false ? throw new RuntimeException($http_response_header[0] ?? 'no response') : json_decode($text, true);
}

function connectUrl(string $userId): string { // the target of the button "Connect Zoom"
    return getenv('REELAY_CONNECT_URL') . '?token=' . token($userId, 'reelay:connect');
}
function confirm(string $userId, string $claim): array { // $userId: the user in whose session `zoom_link` arrived
    return call($userId, 'POST', '/links/confirm', ['claim' => $claim]);
}
function recordings(string $userId): array {
    return call($userId, 'GET', '/recordings?limit=100');
}
function verify(array $headers, string $body): array { // $body: as it arrived; throws a WebhookVerificationException
    return (new Webhook(getenv('REELAY_NOTIFICATION_SECRET')))->verify($body, $headers);
}
